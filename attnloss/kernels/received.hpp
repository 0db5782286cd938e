// What keys receive, Σ_i w_i·p_ij, and its gradient.
#pragma once

#include "backward.hpp"
#include "forward.hpp"

namespace ISA {

// Per query weights (none: 1), per key values, and the mean Σ_j p_ij·value_j of each query.
template <class T> struct ReceivedSetting {
    const ScoreMap<T>& map;
    const T *weights, *values, *means;
    T* out;
    T weight(index place) const { return weights ? weights[place] : T(1); }
};

template <class T> class ReceivedForward {
  public:
    using Setting = ReceivedSetting<T>;
    static index scratch_bytes(const Setting& setting, const Cut& cut) {
        return Side<T>::scratch_bytes(setting.map, cut) + Scratch::bytes<T>(KEYS);
    }
    ReceivedForward(const Setting& setting, const Cut& cut, Scratch& scratch)
        : of_(setting), side_(setting.map, cut, scratch), sums_(scratch.take<T>(KEYS)) {}
    void begin(index batch, index head, index first, index count) {
        side_.load_keys(batch, head, first, count);
        for (index j = 0; j < KEYS; ++j) sums_[j] = 0;
    }
    void tile(const Rows& rows, index count, index) {
        side_.score(rows, count);
        for (index i = 0; i < rows.count; ++i) {
            const T* cells = side_.row(i);
            T lse = side_.lse(rows, i), weight = of_.weight(of_.map.place(rows) + i);
            for (index j = 0; j < count; j += LANES<T>) {
                V<T> x = load(cells + j) - lse;
                store(sums_ + j, load(sums_ + j) + weight * exponential<T>(x));
            }
        }
    }
    void end(index batch, index head, index first, index count) {
        T* to = of_.out + (batch * of_.map.p.heads + head) * of_.map.p.m + first;
        for (index j = 0; j < count; ++j) to[j] = sums_[j];
    }

  private:
    const Setting& of_;
    Side<T> side_;
    T* sums_;
};

// dS = w ⊙ P ⊙ (value − mean).
template <class T> class ReceivedBackward {
  public:
    using Setting = ReceivedSetting<T>;
    static index scratch_bytes(const Setting& setting, const Cut& cut) {
        return Side<T>::scratch_bytes(setting.map, cut) + Scratch::bytes<T>(KEYS);
    }
    ReceivedBackward(const Setting& setting, const Cut& cut, Scratch& scratch)
        : of_(setting), side_(setting.map, cut, scratch), values_(scratch.take<T>(KEYS)) {}
    void begin(index batch, index head, index first, index count) {
        side_.load_keys(batch, head, first, count);
        const T* from = of_.values + (batch * of_.map.p.heads + head) * of_.map.p.m + first;
        for (index j = 0; j < KEYS; ++j) values_[j] = j < count ? from[j] : T(0);
    }
    void tile(const Rows& rows, index count, index chunk) {
        side_.score(rows, count);
        for (index i = 0; i < rows.count; ++i) {
            T* cells = side_.row(i);
            index place = of_.map.place(rows) + i;
            T lse = side_.lse(rows, i), weight = of_.weight(place), mean = of_.means[place];
            for (index j = 0; j < count; j += LANES<T>) {
                V<T> x = load(cells + j) - lse;
                store(cells + j, exponential<T>(x) * (weight * (load(values_ + j) - mean)));
            }
        }
        side_.pass_on(rows, count, chunk, side_.cells);
    }
    void end(index, index, index, index) {}

  private:
    const Setting& of_;
    Side<T> side_;
    T* values_;
};

// Σ_j p_ij·value_j, one value per key.
template <class T> struct RowMeans {
    const ScoreMap<T>& map;
    const Packed<T>& packed;
    const T* values;
    T* out;
    Cut cut;

    index scratch_bytes() const { return TileScores<T>::scratch_bytes(map, packed, cut) + Scratch::bytes<T>(KEYS); }
    void run(index item, Scratch& scratch) const {
        Rows rows = cut.at(map.p, item);
        TileScores<T> scores(map, packed, rows, cut, scratch);
        T* values_here = scratch.take<T>(KEYS);
        T* to = out + map.place(rows);
        for (index i = 0; i < rows.count; ++i) to[i] = 0;
        for (index first = 0; first < scores.stop; first += KEYS) {
            index count = scores.compute(first);
            const T* from = values + (rows.batch * map.p.heads + rows.head) * map.p.m + first;
            for (index j = 0; j < KEYS; ++j) values_here[j] = j < count ? from[j] : T(0);
            for (index i = 0; i < rows.count; ++i) {
                V<T> total{};
                T lse = map.lse(rows, i);
                for (index j = 0; j < count; j += LANES<T>) {
                    V<T> x = load(scores.row(i) + j) - lse;
                    total += exponential<T>(x) * load(values_here + j);
                }
                to[i] += ISA::sum<T>(total);
            }
        }
    }
};
}  // namespace ISA
