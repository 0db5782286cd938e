// Vectors of one register, and the two transcendental functions that the kernels need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <immintrin.h>

// Every instruction set compiles these headers in a namespace of its own: no function is shared between them.
namespace ISA {

#if defined(__AVX512F__)
constexpr int REGISTER_BYTES = 64;
constexpr int REGISTERS_WIDE = 4;
#else
constexpr int REGISTER_BYTES = 32;
constexpr int REGISTERS_WIDE = 2;
#endif

using index = std::ptrdiff_t;

template <class T> struct Bits;
template <> struct Bits<float> {
    using type = std::int32_t;
    static constexpr int mantissa = 23, bias = 127, log_terms = 5;
};
template <> struct Bits<double> {
    using type = std::int64_t;
    static constexpr int mantissa = 52, bias = 1023, log_terms = 11;
};

template <class T> struct Vector {
    typedef T type __attribute__((vector_size(REGISTER_BYTES)));
    typedef typename Bits<T>::type bits __attribute__((vector_size(REGISTER_BYTES)));
};
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr index LANES = REGISTER_BYTES / sizeof(T);
template <class T> constexpr T INFINITE = static_cast<T>(__builtin_inf());

constexpr index least(index a, index b) { return a < b ? a : b; }
constexpr index most(index a, index b) { return a > b ? a : b; }
constexpr index rounded_up(index count, index unit) { return (count + unit - 1) / unit * unit; }

template <class T> inline V<T> load(const T* from) {
    V<T> vector;
    __builtin_memcpy(&vector, from, sizeof vector);
    return vector;
}
template <class T> inline void store(T* to, V<T> vector) { __builtin_memcpy(to, &vector, sizeof vector); }
template <class T> inline V<T> spread(T value) { return value - V<T>{}; }
// A NaN in b comes through, as by x86's own instruction.
template <class T> inline V<T> larger(V<T> a, V<T> b) { return a > b ? a : b; }

// One bit per lane: where a > b.
#if defined(__AVX512F__)
template <class T> inline unsigned above(V<T> a, V<T> b) {
    if constexpr (sizeof(T) == 4)
        return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), _CMP_GT_OQ);
    else
        return _mm512_cmp_pd_mask(reinterpret_cast<__m512d>(a), reinterpret_cast<__m512d>(b), _CMP_GT_OQ);
}
#else
template <class T> inline unsigned above(V<T> a, V<T> b) {
    if constexpr (sizeof(T) == 4)
        return _mm256_movemask_ps(reinterpret_cast<__m256>(a > b));
    else
        return _mm256_movemask_pd(reinterpret_cast<__m256d>(a > b));
}
#endif

template <class T> inline T sum(V<T> vector) {
    T parts[LANES<T>];
    store(parts, vector);
    for (index half = LANES<T> / 2; half > 0; half /= 2)
        for (index lane = 0; lane < half; ++lane) parts[lane] += parts[lane + half];
    return parts[0];
}
template <class T> inline T largest(V<T> vector) {
    T best = vector[0];
    for (index lane = 1; lane < LANES<T>; ++lane) best = best > vector[lane] ? best : vector[lane];
    return best;
}

// exp(r) for |r| ≤ log(2)/2, to 3e-9 in float32 (minimax) and 1e-17 in float64 (Taylor).
inline V<float> exp_near_zero(V<float> r) {
    V<float> q = r * 1.381453825e-3f + 8.368745446e-3f;
    q = q * r + 4.166838899e-2f;
    q = q * r + 1.666652113e-1f;
    q = q * r + 4.999999404e-1f;
    return q * r * r + r + 1.0f;
}
inline V<double> exp_near_zero(V<double> r) {
    constexpr double inverse[] = {1 / 479001600., 1 / 39916800., 1 / 3628800., 1 / 362880., 1 / 40320., 1 / 5040.,
                                  1 / 720.,       1 / 120.,      1 / 24.,      1 / 6.,      1 / 2.};
    V<double> q = spread(1 / 6227020800.);
    for (double term : inverse) q = q * r + term;
    return q * r * r + r + 1.0;
}

// exp for x ≤ 1, say. Below the smallest normal number it is exactly 0; x is raised to where that begins, so that
// x·exp(x) is 0 there and never −∞·0. NaN stays NaN.
template <class T> inline V<T> exponential(V<T>& x) {
    constexpr T log2e = 1.4426950408889634, high = sizeof(T) == 4 ? 0.693359375 : 0.6931471803691238;
    constexpr T low = 0.6931471805599453094172321L - static_cast<long double>(high);
    // Adding it rounds to an integer and leaves that integer, biased, in the lowest bits.
    constexpr T magic = static_cast<T>(3ull << (Bits<T>::mantissa - 1)) + Bits<T>::bias;
    x = larger<T>(spread<T>(-Bits<T>::bias * 0.6931471805599453), x);
    V<T> shifted = x * log2e + magic;
    V<T> power = shifted - magic;
    V<T> r = x - power * high;
    r = r - power * low;
    typename Vector<T>::bits scale;
    __builtin_memcpy(&scale, &shifted, sizeof scale);
    scale <<= Bits<T>::mantissa;
    V<T> factor;
    __builtin_memcpy(&factor, &scale, sizeof factor);
    return exp_near_zero(r) * factor;
}

// log for normal x > 0.
template <class T> inline V<T> logarithm(V<T> x) {
    using I = typename Bits<T>::type;
    constexpr I root_half = sizeof(T) == 4 ? 0x3f3504f3 : static_cast<I>(0x3fe6a09e667f3bcd);
    constexpr I fraction = (static_cast<I>(1) << Bits<T>::mantissa) - 1;
    typename Vector<T>::bits bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    bits -= root_half;
    typename Vector<T>::bits power = bits >> Bits<T>::mantissa;
    bits = (bits & fraction) + root_half;
    V<T> m;
    __builtin_memcpy(&m, &bits, sizeof m);
    V<T> s = (m - T(1)) / (m + T(1)), squared = s * s;
    V<T> series = spread<T>(T(1) / (2 * Bits<T>::log_terms + 1));
    for (int k = Bits<T>::log_terms - 1; k >= 0; --k) series = series * squared + T(1) / (2 * k + 1);
    return __builtin_convertvector(power, V<T>) * T(0.6931471805599453) + 2 * s * series;
}
}  // namespace ISA
