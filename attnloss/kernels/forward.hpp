// Query by query: the output of attention, its lse and its entropy in one pass, and row sums once the lse is known.
#pragma once

#include "top.hpp"

namespace ISA {

// One tile of keys, and of features if there are any, as right factors.
template <class T> struct PackedTile {
    Right<T> keys, features;
};

// All keys, and features that cannot be read in place, packed once and read by every tile of queries. Whoever needs a
// tile first packs it; who comes meanwhile packs a copy of its own, so that no thread waits for another.
template <class T> class Packed {
  public:
    Packed(const ScoreMap<T>& map, const Features* features)
        : map_(map), features_(features), tiles_((map.p.m + KEYS - 1) / KEYS), keys_(least(KEYS, map.p.m)),
          keys_size_(Scratch::bytes<T>(panels_size<T>(keys_, map.width)) / sizeof(T)), size_(keys_size_) {
        if (features && !in_place())
            size_ += Scratch::bytes<T>(keys_ * rounded_up(features->width, LANES<T>)) / sizeof(T);
        index items = map.p.batch * map.map.key_heads * tiles_;
        states_ = static_cast<int*>(std::calloc(items, sizeof(int)));
        memory_ = static_cast<T*>(std::aligned_alloc(64, items * size_ * sizeof(T)));
    }
    ~Packed() { std::free(memory_), std::free(states_); }
    Packed(const Packed&) = delete;
    Packed& operator=(const Packed&) = delete;

    bool failed() const { return memory_ == nullptr || states_ == nullptr; }
    // Elements of one tile.
    index size() const { return size_; }
    // The tile of keys that begins with `first`; `own` is where a copy may go.
    PackedTile<T> tile(index batch, index key_head, index first, T* own) const {
        index item = (batch * map_.map.key_heads + key_head) * tiles_ + first / KEYS;
        T* shared = memory_ + item * size_;
        int unpacked = 0;
        bool done = __atomic_load_n(states_ + item, __ATOMIC_ACQUIRE) == DONE;
        bool mine = !done && __atomic_compare_exchange_n(states_ + item, &unpacked, BEGUN, false, __ATOMIC_RELAXED,
                                                         __ATOMIC_RELAXED);
        T* to = done || mine ? shared : own;
        if (!done) pack(to, batch, key_head, first);
        if (mine) __atomic_store_n(states_ + item, DONE, __ATOMIC_RELEASE);
        return {keys(to, first), features(to, batch, key_head, first)};
    }

  private:
    static constexpr int BEGUN = 1, DONE = 2;
    bool in_place() const { return features_->strides[2] == features_->width && features_->width % LANES<T> == 0; }
    void pack(T* to, index batch, index key_head, index first) const {
        index count = least(KEYS, map_.p.m - first);
        pack_transposed(to, map_.key(batch, key_head, first), map_.map.key_strides[2], count, map_.width);
        if (features_ == nullptr || in_place()) return;
        const T* from = feature(batch, key_head, first);
        copy_rows(to + keys_size_, from, features_->strides[2], count, features_->width, T(1));
    }
    Right<T> keys(const T* packed, index first) const {
        index row = panel_row<T>(least(KEYS, map_.p.m - first));
        return {packed, row, row * map_.width};
    }
    Right<T> features(const T* packed, index batch, index key_head, index first) const {
        if (features_ == nullptr) return {};
        if (in_place()) return {feature(batch, key_head, first), features_->strides[2], PANEL<T>};
        return {packed + keys_size_, rounded_up(features_->width, LANES<T>), PANEL<T>};
    }
    const T* feature(index batch, index key_head, index first) const {
        const std::int64_t* strides = features_->strides;
        index offset = batch * strides[0] + key_head * strides[1] + first * strides[2];
        return static_cast<const T*>(features_->data) + offset;
    }
    const ScoreMap<T>& map_;
    const Features* features_;
    index tiles_, keys_, keys_size_, size_;
    T* memory_;
    int* states_;
};

// The scores of one tile of queries, for one tile of keys after another.
template <class T> class TileScores {
  public:
    static index scratch_bytes(const ScoreMap<T>& map, const Packed<T>& packed, const Cut& cut) {
        index cells = Scratch::bytes<T>(cut.rows * rounded_up(least(KEYS, map.p.m), LANES<T>));
        return cells + Scratch::bytes<T>(cut.rows * map.padded_width()) + Scratch::bytes<T>(packed.size());
    }
    TileScores(const ScoreMap<T>& map, const Packed<T>& packed, const Rows& rows, const Cut& cut, Scratch& scratch)
        : stride(rounded_up(least(KEYS, map.p.m), LANES<T>)), cells(scratch.take<T>(cut.rows * stride)), map_(map),
          packed_(packed), rows_(rows), reach_(map.p, rows.batch),
          query_(scratch.take<T>(cut.rows * map.padded_width())), own_(scratch.take<T>(packed.size())) {
        copy_rows(query_, map.query(rows), map.map.query_strides[2], rows.count, map.width,
                  static_cast<T>(map.map.scale));
        stop = reach_.largest(rows);
    }
    // Of the tile of keys that begins with `first`; returns how many of them some query sees.
    index compute(index first) {
        index count = least(KEYS, stop - first), padded = rounded_up(count, LANES<T>);
        Left<T, false> left{query_, map_.padded_width()};
        PackedTile<T> tile = packed_.tile(rows_.batch, rows_.head / map_.heads_per_key, first, own_);
        features = tile.features;
        multiply(left, tile.keys, {cells, stride}, rows_.count, padded, map_.width, false);
        for (index i = 0; i < rows_.count; ++i) {
            index query = rows_.first + i;
            deny(map_.p, rows_, query, reach_.of(query), row(i), first, count, padded);
        }
        return count;
    }
    T* row(index i) const { return cells + i * stride; }

    index stride, stop;
    T* cells;
    // Of the keys computed last.
    Right<T> features{};

  private:
    const ScoreMap<T>& map_;
    const Packed<T>& packed_;
    Rows rows_;
    Reach reach_;
    T *query_, *own_;
};

// Of one query, over the keys seen so far: the largest score, Σ exp(s − top), Σ exp(s − top)·(s − top), and how many
// keys have the largest score.
template <class T> struct Running {
    T top = -INFINITE<T>, total = 0, slope = 0, ties = 0;

    // Make weights of 0 where every key is denied; a NaN may have passed for −∞ in the maximum.
    static bool clear_if_empty(T* cells, index padded) {
        for (index j = 0; j < padded; ++j)
            if (cells[j] != -INFINITE<T>) return false;
        for (index j = 0; j < padded; ++j) cells[j] = 0;
        return true;
    }

    // Replace scores by exp(s − top), top being that of all keys so far. Returns what earlier ones are to be scaled by.
    template <bool counts> T absorb(T* cells, index padded) {
        V<T> best = spread(-INFINITE<T>);
        for (index j = 0; j < padded; j += LANES<T>) best = larger<T>(best, load(cells + j));
        T here = ISA::largest<T>(best);
        if (here == -INFINITE<T> && clear_if_empty(cells, padded)) return 1;
        T next = top > here ? top : here, scale = 1;
        if (top != next) {
            V<T> drop = spread(top - next), factor = exponential<T>(drop);
            scale = factor[0];
            slope = scale * (slope + total * drop[0]);
            total *= scale;
            ties = 0;
            top = next;
        }
        V<T> totals{}, slopes{}, count{};
        for (index j = 0; j < padded; j += LANES<T>) {
            V<T> x = load(cells + j) - next;
            if constexpr (counts) count += x == T(0) ? spread(T(1)) : V<T>{};
            V<T> weight = exponential<T>(x);
            store(cells + j, weight);
            totals += weight;
            slopes += weight * x;
        }
        total += ISA::sum<T>(totals);
        slope += ISA::sum<T>(slopes);
        if constexpr (counts) ties += ISA::sum<T>(count);
        return scale;
    }
};

template <class T> struct Results {
    T *output, *lse, *entropy, *largest, *top, *ties;
    Top<T> strongest;
};

template <class T> struct Attend {
    const ScoreMap<T>& map;
    const Packed<T>& packed;
    const Features* features;
    Results<T> to;
    Cut cut;

    index scratch_bytes() const {
        return TileScores<T>::scratch_bytes(map, packed, cut) + Scratch::bytes<Running<T>>(cut.rows);
    }
    void run(index item, Scratch& scratch) const {
        Rows rows = cut.at(map.p, item);
        TileScores<T> scores(map, packed, rows, cut, scratch);
        Running<T>* running = scratch.take<Running<T>>(cut.rows);
        for (index i = 0; i < rows.count; ++i) running[i] = {};
        index place = map.place(rows);
        for (index i = 0; i < rows.count; ++i) to.strongest.of(place + i).clear();
        index width = features ? features->width : 0;
        T* output = features ? to.output + place * width : nullptr;
        for (index first = 0; first < scores.stop; first += KEYS) {
            index count = scores.compute(first), padded = rounded_up(count, LANES<T>);
            for (index i = 0; i < rows.count; ++i) {
                if (to.strongest.count > 0) to.strongest.of(place + i).offer(scores.row(i), first, padded);
                T scale = to.ties ? running[i].template absorb<true>(scores.row(i), padded)
                                  : running[i].template absorb<false>(scores.row(i), padded);
                if (first > 0 && scale != 1)
                    for (index k = 0; k < width; ++k) output[i * width + k] *= scale;
            }
            if (!features) continue;
            Left<T, false> left{scores.cells, scores.stride};
            multiply(left, scores.features, {output, width}, rows.count, width, count, first > 0);
        }
        for (index i = 0; i < rows.count; ++i)
            finish(running[i], place + i, output + i * width, scores.stop > 0);
    }

  private:
    void finish(const Running<T>& of, index place, T* output, bool written) const {
        bool empty = of.total == 0;
        T inverse = empty ? 0 : 1 / of.total, log_total = empty ? 0 : __builtin_log(of.total);
        to.lse[place] = empty ? -INFINITE<T> : of.top + log_total;
        to.entropy[place] = log_total - of.slope * inverse;
        to.largest[place] = inverse;
        if (to.ties) {
            to.top[place] = of.top;
            to.ties[place] = of.ties;
        }
        to.strongest.of(place).weigh(of.top, inverse);
        if (features)
            for (index k = 0; k < features->width; ++k) output[k] = written ? output[k] * inverse : 0;
    }
};
}  // namespace ISA
