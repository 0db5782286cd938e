// Small matrix products on tiles that stay in cache.
#pragma once

#include "simd.hpp"

namespace ISA {

constexpr index MICRO_ROWS = 6;
constexpr index DEPTH_BLOCK = 128;
template <class T> constexpr index PANEL = REGISTERS_WIDE * LANES<T>;

// A left factor whose element (i, k) is data[i·stride + k], or data[k·stride + i] if transposed.
template <class T, bool transposed> struct Left {
    const T* data;
    index stride;
    const T* at(index i, index k) const { return data + (transposed ? k * stride + i : i * stride + k); }
};

// A right factor in panels of PANEL columns: rows `row` apart, panels `panel` apart. Its last panel is padded with
// zeros to whole registers.
template <class T> struct Right {
    const T* data;
    index row, panel;
};

template <class T> struct Product {
    T* data;
    index stride;
};

template <class T, int rows, int wide, bool transposed>
inline void micro(Left<T, transposed> a, const T* b, index b_row, Product<T> c, index depth, index columns, bool add) {
    V<T> total[rows][wide] = {};
    for (index k = 0; k < depth; ++k) {
        V<T> right[wide];
#pragma GCC unroll 8
        for (int v = 0; v < wide; ++v) right[v] = load(b + k * b_row + v * LANES<T>);
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i) {
            V<T> left = spread(*a.at(i, k));
#pragma GCC unroll 8
            for (int v = 0; v < wide; ++v) total[i][v] += left * right[v];
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 8
        for (int v = 0; v < wide; ++v) {
            T* to = c.data + i * c.stride + v * LANES<T>;
            if ((v + 1) * LANES<T> <= columns) {
                store(to, add ? load(to) + total[i][v] : total[i][v]);
            } else {
                T part[LANES<T>];
                store(part, total[i][v]);
                for (index j = 0; j < columns - v * LANES<T>; ++j) to[j] = add ? to[j] + part[j] : part[j];
            }
        }
    }
}

template <class T, int wide, bool transposed>
void strip(Left<T, transposed> a, const T* b, index b_row, Product<T> c, index rows, index depth, index columns,
           bool add) {
    index i = 0;
    auto left = [&] { return Left<T, transposed>{a.at(i, 0), a.stride}; };
    auto to = [&] { return Product<T>{c.data + i * c.stride, c.stride}; };
    for (; i + MICRO_ROWS <= rows; i += MICRO_ROWS)
        micro<T, MICRO_ROWS, wide, transposed>(left(), b, b_row, to(), depth, columns, add);
    for (; i + 3 <= rows; i += 3) micro<T, 3, wide, transposed>(left(), b, b_row, to(), depth, columns, add);
    for (; i < rows; ++i) micro<T, 1, wide, transposed>(left(), b, b_row, to(), depth, columns, add);
}

// c = a·b, or c += a·b. The order of additions within an element depends on depth alone.
template <class T, bool transposed>
void multiply(Left<T, transposed> a, Right<T> b, Product<T> c, index rows, index columns, index depth, bool add) {
    for (index first = 0; first < columns; first += PANEL<T>) {
        index wide = least(columns - first, PANEL<T>);
        for (index k = 0; k < depth; k += DEPTH_BLOCK) {
            const T* right = b.data + first / PANEL<T> * b.panel + k * b.row;
            Left<T, transposed> left{a.at(0, k), a.stride};
            Product<T> to{c.data + first, c.stride};
            index deep = least(depth - k, DEPTH_BLOCK);
            bool adds = add || k > 0;
            constexpr int three = least(3, REGISTERS_WIDE);
            switch ((wide + LANES<T> - 1) / LANES<T>) {
            case 1: strip<T, 1, transposed>(left, right, b.row, to, rows, deep, wide, adds); break;
            case 2: strip<T, 2, transposed>(left, right, b.row, to, rows, deep, wide, adds); break;
            case 3: strip<T, three, transposed>(left, right, b.row, to, rows, deep, wide, adds); break;
            default: strip<T, REGISTERS_WIDE, transposed>(left, right, b.row, to, rows, deep, wide, adds);
            }
        }
    }
}

// How far apart the rows of a panel are where `columns` are packed.
template <class T> index panel_row(index columns) { return least(rounded_up(columns, LANES<T>), PANEL<T>); }
template <class T> index panels_size(index columns, index depth) {
    return rounded_up(columns, PANEL<T>) / PANEL<T> * panel_row<T>(columns) * depth;
}

// Write rows [count, width] as the right factor [width, count], in panels.
template <class T> Right<T> pack_transposed(T* to, const T* from, index stride, index count, index width) {
    index row = panel_row<T>(count);
    for (index first = 0; first < count; first += LANES<T>) {
        T* block = to + first / PANEL<T> * row * width + first % PANEL<T>;
        index filled = least(count - first, LANES<T>);
        const T* source = from + first * stride;
        if (filled == LANES<T>) {
            for (index k = 0; k < width; ++k)
                for (index j = 0; j < LANES<T>; ++j) block[k * row + j] = source[j * stride + k];
        } else {
            for (index k = 0; k < width; ++k)
                for (index j = 0; j < LANES<T>; ++j) block[k * row + j] = j < filled ? source[j * stride + k] : T(0);
        }
    }
    return {to, row, row * width};
}

// Copy rows [count, width], times a factor, padding each with zeros to whole registers: a right factor [count, width].
template <class T> Right<T> copy_rows(T* to, const T* from, index stride, index count, index width, T factor) {
    index padded = rounded_up(width, LANES<T>);
    for (index i = 0; i < count; ++i) {
        for (index k = 0; k < width; ++k) to[i * padded + k] = factor * from[i * stride + k];
        for (index k = width; k < padded; ++k) to[i * padded + k] = 0;
    }
    return {to, padded, PANEL<T>};
}
}  // namespace ISA
