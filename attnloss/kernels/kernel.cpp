// The entry points, once per element type; the build compiles this file once per instruction set. Each returns 0, or 1
// where memory ran out.
#include "divergence.hpp"
#include "received.hpp"

namespace ISA {

template <class T>
int attend(const Problem& p, const Map& map, const Features* features, T* output, T* lse, T* entropy, T* largest,
           T* top, T* ties, const Top<T>& strongest) {
    ScoreMap<T> scores(p, map);
    Packed<T> packed(scores, features);
    Cut cut(p);
    Attend<T> task{scores, packed, features, {output, lse, entropy, largest, top, ties, strongest}, cut};
    return packed.failed() || run_all(p, task, p.batch * p.heads * cut.tiles, scores.multiply_adds());
}

template <class T, class Rule> int by_columns(const Problem& p, const typename Rule::Setting& setting, index groups,
                                           index multiply_adds) {
    Columns<T, Rule> task{p, setting, groups, Cut(p)};
    return run_all(p, task, task.items(), multiply_adds);
}

template <class T>
int attend_backward(const Problem& p, const Map& map, const Features* features, const T* grad_output, const T* bias,
                    const T* slope, const T* spike, const T* top) {
    ScoreMap<T> scores(p, map);
    return by_columns<T, AttendBackward<T>>(p, {scores, features, grad_output, bias, slope, spike, top}, map.key_heads,
                                          scores.multiply_adds());
}

template <class T>
int top_backward(const Problem& p, const Map& map, index count, const std::int64_t* keys, const T* flow) {
    ScoreMap<T> scores(p, map);
    TopBackward<T> task{scores, count, keys, flow};
    return run_all(p, task, p.batch * map.key_heads, p.batch * p.heads * p.n * count * map.width);
}

template <class T> int received(const Problem& p, const Map& map, const T* weights, T* out) {
    ScoreMap<T> scores(p, map);
    return by_columns<T, ReceivedForward<T>>(p, {scores, weights, nullptr, nullptr, out}, map.key_heads,
                                          scores.multiply_adds());
}

template <class T> int row_means(const Problem& p, const Map& map, const T* values, T* out) {
    ScoreMap<T> scores(p, map);
    Packed<T> packed(scores, nullptr);
    Cut cut(p);
    RowMeans<T> task{scores, packed, values, out, cut};
    return packed.failed() || run_all(p, task, p.batch * p.heads * cut.tiles, scores.multiply_adds());
}

template <class T>
int received_backward(const Problem& p, const Map& map, const T* weights, const T* values, const T* means) {
    ScoreMap<T> scores(p, map);
    return by_columns<T, ReceivedBackward<T>>(p, {scores, weights, values, means, nullptr}, map.key_heads,
                                          scores.multiply_adds());
}

template <class T, int kind = 0>
int compare(const Problem& p, const Map& first, const Map& second, index wanted, T* out) {
    if constexpr (kind < OVERLAPS)
        if (wanted != kind) return compare<T, kind + 1>(p, first, second, wanted, out);
    ScoreMap<T> ours(p, first), theirs(p, second);
    Packed<T> our_keys(ours, nullptr), their_keys(theirs, nullptr);
    Cut cut(p);
    CompareForward<T, kind> task{ours, theirs, our_keys, their_keys, out, cut};
    if (our_keys.failed() || their_keys.failed()) return 1;
    return run_all(p, task, p.batch * p.heads * cut.tiles, ours.multiply_adds());
}

// Of heads that share no key with those of another group.
inline index common_groups(index a, index b) { return b == 0 ? a : common_groups(b, a % b); }

template <class T, int kind = 0>
int compare_backward(const Problem& p, const Map& first, const Map& second, index wanted, const T* gains,
                     const T* sum_u, const T* sum_v) {
    if constexpr (kind < OVERLAPS)
        if (wanted != kind) return compare_backward<T, kind + 1>(p, first, second, wanted, gains, sum_u, sum_v);
    ScoreMap<T> ours(p, first), theirs(p, second);
    index groups = common_groups(first.key_heads, second.key_heads);
    return by_columns<T, CompareBackward<T, kind>>(p, {ours, theirs, gains, sum_u, sum_v}, groups,
                                                  ours.multiply_adds());
}
}  // namespace ISA

#define JOIN(name, isa, type) name##_##isa##_##type
#define EXPAND(name, isa, type) JOIN(name, isa, type)
#define ENTRY(name, type) __attribute__((visibility("default"))) int EXPAND(name, ISA, type)

#define ENTRIES(T)                                                                                                     \
    ENTRY(attend, T)(const Problem* p, const Map* map, const Features* features, T* output, T* lse, T* entropy,        \
                     T* largest, T* top, T* ties, std::int64_t count, std::int64_t* keys, T* weights) {                \
        return ISA::attend<T>(*p, *map, features, output, lse, entropy, largest, top, ties, {count, keys, weights});   \
    }                                                                                                                  \
    ENTRY(attend_backward, T)(const Problem* p, const Map* map, const Features* features, const T* grad_output,        \
                              const T* bias, const T* slope, const T* spike, const T* top) {                           \
        return ISA::attend_backward<T>(*p, *map, features, grad_output, bias, slope, spike, top);                      \
    }                                                                                                                  \
    ENTRY(top_backward, T)(const Problem* p, const Map* map, std::int64_t count, const std::int64_t* keys,             \
                           const T* flow) {                                                                            \
        return ISA::top_backward<T>(*p, *map, count, keys, flow);                                                      \
    }                                                                                                                  \
    ENTRY(received, T)(const Problem* p, const Map* map, const T* weights, T* out) {                                   \
        return ISA::received<T>(*p, *map, weights, out);                                                               \
    }                                                                                                                  \
    ENTRY(row_means, T)(const Problem* p, const Map* map, const T* values, T* out) {                                   \
        return ISA::row_means<T>(*p, *map, values, out);                                                               \
    }                                                                                                                  \
    ENTRY(received_backward, T)(const Problem* p, const Map* map, const T* weights, const T* values,                   \
                                const T* means) {                                                                      \
        return ISA::received_backward<T>(*p, *map, weights, values, means);                                            \
    }                                                                                                                  \
    ENTRY(compare, T)(const Problem* p, const Map* first, const Map* second, std::int64_t kind, T* out) {              \
        return ISA::compare<T>(*p, *first, *second, kind, out);                                                        \
    }                                                                                                                  \
    ENTRY(compare_backward, T)(const Problem* p, const Map* first, const Map* second, std::int64_t kind,               \
                               const T* gains, const T* sum_u, const T* sum_v) {                                       \
        return ISA::compare_backward<T>(*p, *first, *second, kind, gains, sum_u, sum_v);                               \
    }

extern "C" {
ENTRIES(float)
ENTRIES(double)
}
