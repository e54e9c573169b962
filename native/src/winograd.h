// Winograd's convolutions with 3 x 3 kernels: F(M x M, 3 x 3) gives M x M outputs by (M + 2)^2 multiplications
// of a transformed input tile and a transformed kernel, where the plain sum takes 9 M^2.
//
// Output = A^T [(G g G^T) * (B^T d B)] A, with the matrices of Toom and Cook for the points 0, 1, -1, 2, -2 and
// infinity (M = 4), or without -2 (M = 3). Kernels g are transformed once, in double precision, and rounded once.
// A lane may be a channel or a tile: the transforms are the same.
#pragma once

#include "vectors.h"

namespace facet::FACET_ISA {
namespace {

// One dimension: SIDE inputs, products and points, M outputs.
template <int M>
struct Winograd;

template <>
struct Winograd<2> {
    static constexpr int SIDE = 4;
    static constexpr double G[SIDE][3] = {{1, 0, 0}, {1. / 2, 1. / 2, 1. / 2}, {1. / 2, -1. / 2, 1. / 2}, {0, 0, 1}};

    template <class T>
    static INLINE void input(const T (&d)[SIDE], T (&to)[SIDE]) {
        to[0] = d[0] - d[2];
        to[1] = d[1] + d[2];
        to[2] = d[2] - d[1];
        to[3] = d[3] - d[1];
    }
};

template <>
struct Winograd<3> {
    static constexpr int SIDE = 5;
    static constexpr double G[SIDE][3] = {
        {1. / 2, 0, 0}, {-1. / 2, -1. / 2, -1. / 2}, {-1. / 6, 1. / 6, -1. / 6}, {1. / 6, 1. / 3, 2. / 3}, {0, 0, 1}};

    // B^T d
    template <class T>
    static INLINE void input(const T (&d)[SIDE], T (&to)[SIDE]) {
        const T outer = d[3] - d[1];
        to[0] = 2 * (d[0] - d[2]) + outer;
        to[1] = d[3] - d[2] - 2 * d[1];
        to[2] = d[3] - 3 * d[2] + 2 * d[1];
        to[3] = outer;
        to[4] = d[4] - d[2] - 2 * outer;
    }

    // A^T m
    template <class T>
    static INLINE void output(const T (&m)[SIDE], T (&to)[3]) {
        const T sum = m[1] + m[2];
        to[0] = m[0] + sum + m[3];
        to[1] = m[1] - m[2] + 2 * m[3];
        to[2] = sum + 4 * m[3] + m[4];
    }
};

template <>
struct Winograd<4> {
    static constexpr int SIDE = 6;
    static constexpr double G[SIDE][3] = {{1. / 4, 0, 0},           {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
                                          {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}};

    template <class T>
    static INLINE void input(const T (&d)[SIDE], T (&to)[SIDE]) {
        const T even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1];
        const T even_far = d[4] - d[2], odd_far = d[3] - d[1];
        to[0] = 4 * (d[0] - d[2]) + even_far;
        to[1] = even + odd;
        to[2] = even - odd;
        to[3] = even_far + 2 * odd_far;
        to[4] = even_far - 2 * odd_far;
        to[5] = d[5] - d[3] - 4 * odd_far;
    }

    template <class T>
    static INLINE void output(const T (&m)[SIDE], T (&to)[4]) {
        const T sum = m[1] + m[2], difference = m[1] - m[2], sum_far = m[3] + m[4], difference_far = m[3] - m[4];
        to[0] = m[0] + sum + sum_far;
        to[1] = difference + 2 * difference_far;
        to[2] = sum + 4 * sum_far;
        to[3] = difference + 8 * difference_far + m[5];
    }
};

// G g G^T of one 3 x 3 kernel, whose values lie `step` floats apart, into positions `to_step` floats apart.
template <int M>
void transform_kernel(const float* kernel, size_t step, float* to, size_t to_step) {
    constexpr int SIDE = Winograd<M>::SIDE;
    const auto& G = Winograd<M>::G;
    for (int u = 0; u < SIDE; u++)
        for (int v = 0; v < SIDE; v++, to += to_step) {
            double sum = 0;
            for (int row = 0; row < 3; row++)
                for (int column = 0; column < 3; column++)
                    sum += G[u][row] * G[v][column] * kernel[(row * 3 + column) * step];
            *to = static_cast<float>(sum);
        }
}

// B^T d B of one tile, whose pixel in row y and column x lies at at(y, x), into positions `to_step` floats apart.
template <int M, class T, class At>
INLINE void transform_input(const At& at, float* to, size_t to_step) {
    constexpr int SIDE = Winograd<M>::SIDE;
    T half[SIDE][SIDE];  // by column, then transformed row
    UNROLL for (int x = 0; x < SIDE; x++) {
        T d[SIDE];
        UNROLL for (int y = 0; y < SIDE; y++) d[y] = load<T>(at(y, x));
        Winograd<M>::input(d, half[x]);
    }
    UNROLL for (int u = 0; u < SIDE; u++) {
        T d[SIDE], all[SIDE];
        UNROLL for (int x = 0; x < SIDE; x++) d[x] = half[x][u];
        Winograd<M>::input(d, all);
        UNROLL for (int v = 0; v < SIDE; v++) store(to + (u * SIDE + v) * to_step, all[v]);
    }
}

// A^T m A + bias of one tile from positions `step` floats apart. What is added to the product at point 1 of both
// axes is added to every output, since that point's column of A^T is all ones.
template <int M, class T>
INLINE void transform_output(const float* from, size_t step, T bias, T (&to)[M][M]) {
    constexpr int SIDE = Winograd<M>::SIDE;
    T half[SIDE][M];  // by column of products, then row of outputs
    UNROLL for (int v = 0; v < SIDE; v++) {
        T m[SIDE];
        UNROLL for (int u = 0; u < SIDE; u++) m[u] = load<T>(from + (u * SIDE + v) * step);
        if (v == 1) m[1] += bias;
        Winograd<M>::output(m, half[v]);
    }
    UNROLL for (int y = 0; y < M; y++) {
        T m[SIDE];
        UNROLL for (int v = 0; v < SIDE; v++) m[v] = half[v][y];
        Winograd<M>::output(m, to[y]);
    }
}

}  // namespace
}  // namespace facet::FACET_ISA
