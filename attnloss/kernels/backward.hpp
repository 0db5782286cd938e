// Tile of keys by tile of keys: gradients, and sums over queries. Scores are computed again, no map is kept.
#pragma once

#include "problem.hpp"

namespace ISA {

// One score map within a tile: its scores, and the flow of their gradient into its query and key.
template <class T> class Side {
  public:
    static index scratch_bytes(const ScoreMap<T>& map, const Cut& cut) {
        index keys = least(KEYS, map.p.m), width = map.padded_width();
        index bytes = Scratch::bytes<T>(panels_size<T>(keys, map.width)) + Scratch::bytes<T>(keys * width);
        return bytes + Scratch::bytes<T>(cut.rows * width) + Scratch::bytes<T>(cut.rows * rounded_up(keys, LANES<T>));
    }
    Side(const ScoreMap<T>& map, const Cut& cut, Scratch& scratch)
        : stride(rounded_up(least(KEYS, map.p.m), LANES<T>)), cells(scratch.take<T>(cut.rows * stride)), map_(map),
          packed_(scratch.take<T>(panels_size<T>(least(KEYS, map.p.m), map.width))),
          keys_(scratch.take<T>(least(KEYS, map.p.m) * map.padded_width())),
          query_(scratch.take<T>(cut.rows * map.padded_width())) {}

    void load_keys(index batch, index head, index first, index count) {
        index key_head = head / map_.heads_per_key, stride = map_.map.key_strides[2];
        first_ = first;
        if (loaded_ == key_head && loaded_first_ == first) return;
        loaded_ = key_head, loaded_first_ = first;
        const T* from = map_.key(batch, key_head, first);
        keys_packed_ = pack_transposed(packed_, from, stride, count, map_.width);
        if (map_.map.grad_query) scaled_keys_ = copy_rows(keys_, from, stride, count, map_.width, scale());
    }
    void score(const Rows& rows, index count) {
        scaled_query_ =
            copy_rows(query_, map_.query(rows), map_.map.query_strides[2], rows.count, map_.width, scale());
        index padded = rounded_up(count, LANES<T>);
        Left<T, false> left{query_, map_.padded_width()};
        multiply(left, keys_packed_, {cells, stride}, rows.count, padded, map_.width, false);
        Reach reach(map_.p, rows.batch);
        for (index i = 0; i < rows.count; ++i)
            deny(map_.p, rows, rows.first + i, reach.of(rows.first + i), cells + i * stride, first_, count, padded);
    }
    // Add what `flow`, the gradient of the scores, is worth to query and key.
    void pass_on(const Rows& rows, index count, index chunk, const T* flow) const {
        index head_rows = map_.p.batch * map_.p.heads * map_.p.n;
        if (map_.map.grad_query) {
            T* to = static_cast<T*>(map_.map.grad_query) + (chunk * head_rows + map_.place(rows)) * map_.width;
            multiply(Left<T, false>{flow, stride}, scaled_keys_, {to, map_.width}, rows.count, map_.width, count, true);
        }
        if (map_.map.grad_key) {
            index key_head = rows.batch * map_.map.key_heads + rows.head / map_.heads_per_key;
            T* to = static_cast<T*>(map_.map.grad_key) + (key_head * map_.p.m + first_) * map_.width;
            multiply(Left<T, true>{flow, stride}, scaled_query_, {to, map_.width}, count, map_.width, rows.count, true);
        }
    }
    T lse(const Rows& rows, index i) const { return map_.lse(rows, i); }
    T* row(index i) const { return cells + i * stride; }
    index first() const { return first_; }

    index stride;
    T* cells;

  private:
    T scale() const { return static_cast<T>(map_.map.scale); }
    const ScoreMap<T>& map_;
    T *packed_, *keys_, *query_;
    Right<T> keys_packed_{}, scaled_keys_{}, scaled_query_{};
    index first_ = 0, loaded_ = -1, loaded_first_ = -1;
};

// Each item is one group of heads and every chunks-th tile of its keys, so that nobody else adds to these keys. Chunks
// have a gradient of query each. `Rule` says what becomes of a tile; it is made anew for each item.
template <class T, class Rule> struct Columns {
    const Problem& p;
    const typename Rule::Setting& setting;
    index groups;
    Cut cut;

    index scratch_bytes() const { return Rule::scratch_bytes(setting, cut); }
    index items() const { return p.batch * groups * p.chunks; }
    void run(index item, Scratch& scratch) const {
        index chunk = item % p.chunks, batch = item / p.chunks / groups, group = item / p.chunks % groups;
        index heads = p.heads / groups;
        Rule rule(setting, cut, scratch);
        Reach reach(p, batch);
        for (index first = chunk * KEYS; first < p.m; first += p.chunks * KEYS) {
            for (index head = group * heads; head < (group + 1) * heads; ++head) {
                index count = least(KEYS, p.m - first);
                rule.begin(batch, head, first, count);
                for (index tile = 0; tile < cut.tiles; ++tile) {
                    Rows rows = cut.at(p, (batch * p.heads + head) * cut.tiles + tile);
                    rows.count = least(rows.count, reach.query_end - rows.first);
                    index seen = least(count, reach.largest(rows) - first);
                    if (seen > 0) rule.tile(rows, seen, chunk);
                }
                rule.end(batch, head, first, count);
            }
        }
    }
};

// dS = P ⊙ (dO·Vᵀ + bias + slope·(s − L)), and `spike` more where s is the largest of its query.
template <class T> struct AttendGradients {
    const ScoreMap<T>& map;
    const Features* features;
    const T *grad_output, *bias, *slope, *spike, *top;
};

template <class T> class AttendBackward {
  public:
    using Setting = AttendGradients<T>;
    static index scratch_bytes(const Setting& setting, const Cut& cut) {
        index keys = least(KEYS, setting.map.p.m), bytes = Side<T>::scratch_bytes(setting.map, cut);
        if (!setting.features) return bytes;
        index padded = rounded_up(setting.features->width, LANES<T>);
        bytes += Scratch::bytes<T>(panels_size<T>(keys, setting.features->width));
        bytes += Scratch::bytes<T>(cut.rows * padded);
        return bytes + Scratch::bytes<T>(cut.rows * rounded_up(keys, LANES<T>));
    }
    AttendBackward(const Setting& setting, const Cut& cut, Scratch& scratch)
        : of_(setting), side_(setting.map, cut, scratch) {
        if (!of_.features) return;
        index keys = least(KEYS, of_.map.p.m);
        packed_ = scratch.take<T>(panels_size<T>(keys, of_.features->width));
        grad_ = scratch.take<T>(cut.rows * rounded_up(of_.features->width, LANES<T>));
        products_ = scratch.take<T>(cut.rows * side_.stride);
    }
    void begin(index batch, index head, index first, index count) {
        side_.load_keys(batch, head, first, count);
        if (!of_.features) return;
        const Features& features = *of_.features;
        index key_head = head / of_.map.heads_per_key;
        index offset = batch * features.strides[0] + key_head * features.strides[1] + first * features.strides[2];
        const T* from = static_cast<const T*>(features.data) + offset;
        features_packed_ = pack_transposed(packed_, from, features.strides[2], count, features.width);
    }
    void tile(const Rows& rows, index count, index chunk) {
        side_.score(rows, count);
        index width = of_.features ? of_.features->width : 0, padded = rounded_up(count, LANES<T>);
        Right<T> grad{};
        if (width) {
            grad = copy_rows(grad_, of_.grad_output + of_.map.place(rows) * width, width, rows.count, width, T(1));
            Left<T, false> left{grad_, grad.row};
            multiply(left, features_packed_, {products_, side_.stride}, rows.count, padded, width, false);
        }
        for (index i = 0; i < rows.count; ++i) {
            T* product = width ? products_ + i * side_.stride : nullptr;
            if (of_.spike)
                differentiate<true>(rows, i, side_.row(i), product, padded);
            else
                differentiate<false>(rows, i, side_.row(i), product, padded);
        }
        side_.pass_on(rows, count, chunk, width ? products_ : side_.cells);
        if (!width || !of_.features->grad) return;
        index key_head = rows.batch * of_.map.map.key_heads + rows.head / of_.map.heads_per_key;
        T* to = static_cast<T*>(of_.features->grad) + (key_head * of_.map.p.m + side_.first()) * width;
        multiply(Left<T, true>{side_.cells, side_.stride}, grad, {to, width}, count, width, rows.count, true);
    }
    void end(index, index, index, index) {}

  private:
    // Scores become weights and products become gradients; without products the gradients take the scores' place.
    template <bool spiked> void differentiate(const Rows& rows, index i, T* cells, T* products, index padded) const {
        index place = of_.map.place(rows) + i;
        T lse = side_.lse(rows, i), bias = of_.bias[place], slope = of_.slope[place];
        if (lse == INFINITE<T>) bias = slope = 0;
        T top = spiked ? of_.top[place] : 0, spike = spiked ? of_.spike[place] : 0;
        for (index j = 0; j < padded; j += LANES<T>) {
            V<T> score = load(cells + j), x = score - lse;
            V<T> weight = exponential<T>(x), inner = x * slope + bias;
            if (products) inner += load(products + j);
            V<T> gradient = weight * inner;
            if constexpr (spiked) gradient += score == top ? spread(spike) : V<T>{};
            if (products) store(cells + j, weight);
            store(products ? products + j : cells + j, gradient);
        }
    }
    const Setting& of_;
    Side<T> side_;
    T *packed_ = nullptr, *grad_ = nullptr, *products_ = nullptr;
    Right<T> features_packed_{};
};
}  // namespace ISA
