// The keys with the largest scores of each query, kept while tiles of keys go by, and the gradient of their weights.
#pragma once

#include "problem.hpp"

namespace ISA {

// Of one query: keys by falling score, equal ones by rising number. The arrays are those of the result; the scores
// become weights in the end.
template <class T> struct Strongest {
    index count;
    std::int64_t* keys;
    T* values;

    void clear() const {
        for (index i = 0; i < count; ++i) keys[i] = -1, values[i] = -INFINITE<T>;
    }
    // Keys come in their order, so that one as strong as the weakest kept is none of them. A denied key is −∞.
    void offer(const T* cells, index first, index padded) const {
        V<T> weakest = spread(values[count - 1]);
        for (index j = 0; j < padded; j += LANES<T>) {
            unsigned found = above<T>(load(cells + j), weakest);
            if (found == 0) continue;
            for (; found != 0; found &= found - 1) {
                index here = j + __builtin_ctz(found);
                if (cells[here] > values[count - 1]) insert(cells[here], first + here);
            }
            weakest = spread(values[count - 1]);
        }
    }
    // exp rounds, and might give a weaker key the larger weight by one digit: no weight exceeds the one before.
    void weigh(T top, T inverse) const {
        T before = INFINITE<T>;
        for (index first = 0; first < count; first += LANES<T>) {
            index stop = least(LANES<T>, count - first);
            T weights[LANES<T>] = {};
            for (index j = 0; j < stop; ++j) weights[j] = values[first + j] - top;
            V<T> x = load(weights);
            store(weights, exponential<T>(x) * inverse);
            for (index j = 0; j < stop; ++j) {
                T weight = keys[first + j] < 0 ? 0 * inverse : weights[j];
                before = weight > before ? before : weight;
                values[first + j] = before;
            }
        }
    }

  private:
    void insert(T value, index key) const {
        index place = count - 1;
        for (; place > 0 && values[place - 1] < value; --place) {
            values[place] = values[place - 1];
            keys[place] = keys[place - 1];
        }
        values[place] = value;
        keys[place] = key;
    }
};

// Of all queries; none where count is 0.
template <class T> struct Top {
    index count;
    std::int64_t* keys;
    T* values;
    Strongest<T> of(index place) const { return {count, keys + place * count, values + place * count}; }
};

// Add the gradient of the scores at the strongest keys, `flow`, to query and key. An item is one key head.
template <class T> struct TopBackward {
    const ScoreMap<T>& map;
    index count;
    const std::int64_t* keys;
    const T* flow;

    index scratch_bytes() const { return 0; }
    void run(index item, Scratch&) const {
        const Map& to = map.map;
        index batch = item / to.key_heads, key_head = item % to.key_heads, width = map.width;
        T scale = static_cast<T>(to.scale);
        for (index row = 0; row < map.heads_per_key * map.p.n; ++row) {
            Rows rows{batch, key_head * map.heads_per_key + row / map.p.n, row % map.p.n, 1};
            index place = map.place(rows);
            for (index i = place * count; i < (place + 1) * count && keys[i] >= 0; ++i) {
                const T *query = map.query(rows), *key = map.key(batch, key_head, keys[i]);
                T gain = scale * flow[i];
                add(static_cast<T*>(to.grad_query), place * width, gain, key);
                add(static_cast<T*>(to.grad_key), (item * map.p.m + keys[i]) * width, gain, query);
            }
        }
    }

  private:
    void add(T* grad, index start, T gain, const T* from) const {
        if (grad == nullptr) return;
        for (index k = 0; k < map.width; ++k) grad[start + k] += gain * from[k];
    }
};
}  // namespace ISA
