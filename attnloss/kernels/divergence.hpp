// Two maps over the same keys: sums over keys of a function of both log weights, and their gradients.
#pragma once

#include "backward.hpp"
#include "forward.hpp"

namespace ISA {

enum Kind { KL, REVERSE_KL, JS, TOTAL_VARIATION, HELLINGER, SQUARES, OVERLAPS };

template <class T> struct Weights {
    V<T> p, r;
};

// Three numbers of a cell: the function and its derivatives by u = log p and v = log r. OVERLAPS: p², p·r and r².
template <class T> struct Terms {
    V<T> value, by_u, by_v;
};

// Σ δ²ᵏ/(k(2k − 1)) = (1 + δ)·log(1 + δ) + (1 − δ)·log(1 − δ) for δ² < 1/16: never negative, and no cancellation.
template <class T> inline V<T> convex_near_zero(V<T> squared) {
    V<T> series{};
    for (int k = sizeof(T) == 4 ? 5 : 12; k > 0; --k) series = (series + T(1) / (k * (2 * k - 1))) * squared;
    return series;
}

template <class T> inline Terms<T> js(V<T> p, V<T> r) {
    constexpr T tiny = sizeof(T) == 4 ? T(1.17549435e-38) : T(2.2250738585072014e-308);
    V<T> total = larger<T>(spread(tiny), p + r), delta = (p - r) / total, squared = delta * delta;
    V<T> a = 2 * p / total, b = 2 * r / total;
    V<T> log_a = logarithm<T>(larger<T>(spread(tiny), a)), log_b = logarithm<T>(larger<T>(spread(tiny), b));
    V<T> convex = squared < T(1) / 16 ? convex_near_zero<T>(squared) : a * log_a + b * log_b;
    return {total * convex / 4, p * log_a / 2, r * log_b / 2};
}

template <int kind, class T> inline Terms<T> terms(V<T> u, V<T> v, Weights<T>& weights) {
    // −∞ where a key is denied to both; finite, so that weights of 0 make it 0.
    u = larger<T>(spread(T(-1e30)), u), v = larger<T>(spread(T(-1e30)), v);
    constexpr T root = kind == HELLINGER ? 0.5 : 1;
    V<T> x = u * root, y = v * root;
    V<T> p = exponential<T>(x), r = exponential<T>(y), gap = p - r;
    weights = {p, r};
    if constexpr (kind == KL) return {p * (u - v), p * (u - v) + p, -p};
    if constexpr (kind == REVERSE_KL) return {r * (v - u), -r, r * (v - u) + r};
    if constexpr (kind == JS) return js<T>(p, r);
    if constexpr (kind == TOTAL_VARIATION) {
        V<T> sign = gap > T(0) ? spread(T(0.5)) : gap < T(0) ? spread(T(-0.5)) : gap;
        return {gap * sign, p * sign, -r * sign};
    }
    if constexpr (kind == HELLINGER) {
        weights = {p * p, r * r};
        return {gap * gap / 2, gap * p / 2, -gap * r / 2};
    }
    if constexpr (kind == SQUARES) return {gap * gap, 2 * p * gap, -2 * r * gap};
    if constexpr (kind == OVERLAPS) return {p * p, p * r, r * r};
}

// The three sums of each query, [3, B, H, n].
template <class T, int kind> struct CompareForward {
    const ScoreMap<T>&first, &second;
    const Packed<T>&first_packed, &second_packed;
    T* out;
    Cut cut;

    index scratch_bytes() const {
        return TileScores<T>::scratch_bytes(first, first_packed, cut) +
               TileScores<T>::scratch_bytes(second, second_packed, cut);
    }
    void run(index item, Scratch& scratch) const {
        Rows rows = cut.at(first.p, item);
        TileScores<T> ours(first, first_packed, rows, cut, scratch);
        TileScores<T> theirs(second, second_packed, rows, cut, scratch);
        index place = first.place(rows), queries = first.p.batch * first.p.heads * first.p.n;
        for (int part = 0; part < 3; ++part)
            for (index i = 0; i < rows.count; ++i) out[part * queries + place + i] = 0;
        for (index key = 0; key < ours.stop; key += KEYS) {
            index count = ours.compute(key);
            theirs.compute(key);
            for (index i = 0; i < rows.count; ++i) {
                Terms<T> total{};
                Weights<T> weights;
                for (index j = 0; j < count; j += LANES<T>) {
                    V<T> u = load(ours.row(i) + j) - first.lse(rows, i);
                    V<T> v = load(theirs.row(i) + j) - second.lse(rows, i);
                    Terms<T> here = terms<kind, T>(u, v, weights);
                    total = {total.value + here.value, total.by_u + here.by_u, total.by_v + here.by_v};
                }
                out[place + i] += ISA::sum<T>(total.value);
                out[queries + place + i] += ISA::sum<T>(total.by_u);
                out[2 * queries + place + i] += ISA::sum<T>(total.by_v);
            }
        }
    }
};

// Gains are the upstream gradient, [B, H, n], for OVERLAPS [3, B, H, n]; the sums are Σ_j ∂/∂u and Σ_j ∂/∂v of what
// they gain.
template <class T> struct CompareSetting {
    const ScoreMap<T>&first, &second;
    const T *gains, *sum_u, *sum_v;
};

// dS = ∂/∂u − P·Σ_j ∂/∂u for the one map, the same by v for the other.
template <class T, int kind> class CompareBackward {
  public:
    using Setting = CompareSetting<T>;
    static index scratch_bytes(const Setting& setting, const Cut& cut) {
        return Side<T>::scratch_bytes(setting.first, cut) + Side<T>::scratch_bytes(setting.second, cut);
    }
    CompareBackward(const Setting& setting, const Cut& cut, Scratch& scratch)
        : of_(setting), ours_(setting.first, cut, scratch), theirs_(setting.second, cut, scratch) {}
    void begin(index batch, index head, index first, index count) {
        ours_.load_keys(batch, head, first, count);
        theirs_.load_keys(batch, head, first, count);
    }
    void tile(const Rows& rows, index count, index chunk) {
        ours_.score(rows, count);
        theirs_.score(rows, count);
        for (index i = 0; i < rows.count; ++i) differentiate(rows, i, count);
        ours_.pass_on(rows, count, chunk, ours_.cells);
        theirs_.pass_on(rows, count, chunk, theirs_.cells);
    }
    void end(index, index, index, index) {}

  private:
    void differentiate(const Rows& rows, index i, index count) const {
        T *ours = ours_.row(i), *theirs = theirs_.row(i);
        T our_lse = ours_.lse(rows, i), their_lse = theirs_.lse(rows, i);
        index place = of_.first.place(rows) + i, queries = of_.first.p.batch * of_.first.p.heads * of_.first.p.n;
        const T* gain = of_.gains + place;
        T sum_u = of_.sum_u[place], sum_v = of_.sum_v[place];
        for (index j = 0; j < count; j += LANES<T>) {
            V<T> u = load(ours + j) - our_lse, v = load(theirs + j) - their_lse, by_u, by_v;
            Weights<T> weights;
            Terms<T> here = terms<kind, T>(u, v, weights);
            if constexpr (kind == OVERLAPS) {
                by_u = 2 * gain[0] * here.value + gain[queries] * here.by_u;
                by_v = 2 * gain[2 * queries] * here.by_v + gain[queries] * here.by_u;
            } else {
                by_u = gain[0] * here.by_u, by_v = gain[0] * here.by_v;
            }
            store(ours + j, by_u - weights.p * sum_u);
            store(theirs + j, by_v - weights.r * sum_v);
        }
    }
    const Setting& of_;
    Side<T> ours_, theirs_;
};
}  // namespace ISA
