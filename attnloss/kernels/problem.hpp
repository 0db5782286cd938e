// What a call describes: the C structs, which keys a query may attend to, and how work is shared among threads.
#pragma once

#include <cstdlib>

#include "gemm.hpp"

// library.py declares the same fields in the same order. Strides count elements; a null pointer says "none".
extern "C" {
struct Problem {
    std::int64_t batch, heads, n, m, causal;
    const std::uint8_t* mask;
    std::int64_t mask_strides[4];
    const std::int64_t *query_lengths, *key_lengths;
    std::int64_t threads, chunks;
    void* fork_join;
};
struct Map {
    const void *query, *key;
    std::int64_t query_strides[3], key_strides[3], key_heads, width;
    double scale;
    const void* lse;
    void *grad_query, *grad_key;
};
struct Features {
    const void* data;
    std::int64_t strides[3], width;
    void* grad;
};
}

namespace ISA {

// Keys of one tile: a multiple of every PANEL. Rows of one tile: a multiple of MICRO_ROWS.
constexpr index KEYS = 384;
constexpr index ROWS = 120;

// Memory of one thread, handed out in order, each part on a cache line of its own.
class Scratch {
  public:
    explicit Scratch(index bytes) : data_(static_cast<char*>(std::aligned_alloc(64, rounded_up(bytes + 64, 64)))) {}
    ~Scratch() { std::free(data_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    bool missing() const { return data_ == nullptr; }
    template <class T> T* take(index count) {
        char* part = data_ + used_;
        used_ += bytes<T>(count);
        return reinterpret_cast<T*>(part);
    }
    void reset() { used_ = 0; }
    template <class T> static index bytes(index count) { return rounded_up(count * static_cast<index>(sizeof(T)), 64); }

  private:
    char* data_;
    index used_ = 0;
};

// One work item after another to whichever thread is free. A task has `scratch_bytes()` and `run(item, scratch)`.
template <class Task> struct Crew {
    const Task& task;
    index items, next, failed;

    static void work(void* self) {
        Crew& crew = *static_cast<Crew*>(self);
        Scratch scratch(crew.task.scratch_bytes());
        if (scratch.missing()) {
            __atomic_store_n(&crew.failed, 1, __ATOMIC_RELAXED);
            return;
        }
        for (;;) {
            index item = __atomic_fetch_add(&crew.next, 1, __ATOMIC_RELAXED);
            if (item >= crew.items) return;
            scratch.reset();
            crew.task.run(item, scratch);
        }
    }
};

// Multiply-adds below which waking other threads takes longer than the work.
constexpr index SMALL = 1 << 19;

// Run all items, on the OpenMP pool that torch uses if there is one. Returns 0, or 1 where memory ran out.
template <class Task> int run_all(const Problem& problem, const Task& task, index items, index multiply_adds) {
    using ForkJoin = void (*)(void (*)(void*), void*, unsigned, unsigned);
    Crew<Task> crew{task, items, 0, 0};
    auto fork_join = reinterpret_cast<ForkJoin>(problem.fork_join);
    unsigned threads = static_cast<unsigned>(least(problem.threads, items));
    if (fork_join == nullptr || threads <= 1 || multiply_adds < SMALL)
        Crew<Task>::work(&crew);
    else
        fork_join(Crew<Task>::work, &crew, threads, 0);
    return static_cast<int>(crew.failed);
}

// Consecutive queries of one head.
struct Rows {
    index batch, head, first, count;
};

// How many leading keys a query may attend to by causality and lengths; the mask denies more.
struct Reach {
    index query_end, key_end, shift;
    bool causal;
    Reach(const Problem& p, index batch)
        : query_end(p.query_lengths ? p.query_lengths[batch] : p.n),
          key_end(p.key_lengths ? p.key_lengths[batch] : p.m), shift(key_end - query_end), causal(p.causal != 0) {}
    index of(index query) const {
        if (query >= query_end) return 0;
        return causal ? most(least(key_end, query + shift + 1), 0) : key_end;
    }
    // Of the consecutive queries: it grows with the query as long as the query is valid.
    index largest(const Rows& rows) const {
        index last = least(rows.first + rows.count, query_end) - 1;
        return last < rows.first ? 0 : of(last);
    }
};

// Write −∞ where query `query` may not attend: cells are its scores for keys [first, first + count), padded with
// whatever up to `padded`.
template <class T>
inline void deny(const Problem& p, const Rows& rows, index query, index reach, T* cells, index first, index count,
                 index padded) {
    for (index j = most(least(reach - first, count), 0); j < padded; ++j) cells[j] = -INFINITE<T>;
    if (p.mask == nullptr) return;
    const std::int64_t* strides = p.mask_strides;
    const std::uint8_t* mask = p.mask + rows.batch * strides[0] + rows.head * strides[1] + query * strides[2];
    mask += first * strides[3];
    if (strides[3] == 1)
        for (index j = 0; j < count; ++j) cells[j] = mask[j] ? cells[j] : -INFINITE<T>;
    else
        for (index j = 0; j < count; ++j) cells[j] = mask[j * strides[3]] ? cells[j] : -INFINITE<T>;
}

// One score map in the types of the kernel.
template <class T> struct ScoreMap {
    const Problem& p;
    const Map& map;
    index heads_per_key, width;
    ScoreMap(const Problem& problem, const Map& description)
        : p(problem), map(description), heads_per_key(p.heads / map.key_heads), width(map.width) {}
    index multiply_adds() const { return p.batch * p.heads * p.n * p.m * width; }
    index padded_width() const { return rounded_up(width, LANES<T>); }
    const T* query(const Rows& rows) const {
        const std::int64_t* strides = map.query_strides;
        index offset = rows.batch * strides[0] + rows.head * strides[1] + rows.first * strides[2];
        return static_cast<const T*>(map.query) + offset;
    }
    const T* key(index batch, index key_head, index first) const {
        const std::int64_t* strides = map.key_strides;
        return static_cast<const T*>(map.key) + batch * strides[0] + key_head * strides[1] + first * strides[2];
    }
    index place(const Rows& rows) const { return (rows.batch * p.heads + rows.head) * p.n + rows.first; }
    // The lse of row i, or +∞ where it is −∞, so that every weight of a fully masked query is 0.
    T lse(const Rows& rows, index i) const {
        T value = static_cast<const T*>(map.lse)[place(rows) + i];
        return value == -INFINITE<T> ? INFINITE<T> : value;
    }
};

// How queries are cut into tiles: none larger than ROWS, all alike, and enough of them to share.
struct Cut {
    index rows, tiles;
    Cut(const Problem& p) {
        index pieces = (p.n + ROWS - 1) / ROWS, sequences = p.batch * p.heads;
        while (pieces * sequences < 2 * p.threads && p.n > 4 * MICRO_ROWS * pieces) ++pieces;
        rows = rounded_up((p.n + pieces - 1) / pieces, MICRO_ROWS);
        tiles = (p.n + rows - 1) / rows;
    }
    Rows at(const Problem& p, index item) const {
        index sequence = item / tiles, first = item % tiles * rows;
        return {sequence / p.heads, sequence % p.heads, first, least(rows, p.n - first)};
    }
};
}  // namespace ISA
