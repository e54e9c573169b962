// How far rounding may take a convolution from the exact one.
//
// Each output is a sum of products of pixels and kernel values; with Winograd's algorithm by way of G, B^T and A^T. With
// unit roundoff u = 2^-24 a term that passes through k roundings is off by at most (1 + u)^k - 1 < 1.01 k u of its
// size. So the output is off by at most 1.01 k u S, where S is the sum of the sizes of all terms: what the same
// algorithm gives for |pixels|, |kernel|, |G|, |B^T| and |A^T|. S exceeds the output by far, since terms of up to 8
// times the size of a product cancel each other: that is the price of fewer multiplications.
#pragma once

#include "convolutions.h"
#include "reference.h"

using Matrix = std::vector<std::vector<double>>;

struct Matrices {  // of F(tile x tile, 3 x 3)
    Matrix bt, g, at;
};

inline Matrices matrices(int tile) {
    if (tile == 1) return {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}, {{1, 1, 1}}};
    if (tile == 3)
        return {{{2, -1, -2, 1, 0}, {0, -2, -1, 1, 0}, {0, 2, -3, 1, 0}, {0, -1, 0, 1, 0}, {0, 2, -1, -2, 1}},
                {{1. / 2, 0, 0}, {-1. / 2, -1. / 2, -1. / 2}, {-1. / 6, 1. / 6, -1. / 6}, {1. / 6, 1. / 3, 2. / 3}, {0, 0, 1}},
                {{1, 1, 1, 1, 0}, {0, 1, -1, 2, 0}, {0, 1, 1, 4, 1}}};
    return {{{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0}, {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0},
             {0, 4, 0, -5, 0, 1}},
            {{1. / 4, 0, 0}, {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6}, {1. / 24, 1. / 12, 1. / 6},
             {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}},
            {{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}}};
}

// |m| |x| |m|^T for each channel of a square x; x(row, column, channel).
template <class X>
Map sizes_of(const Matrix& m, int channels, X x) {
    const int out = m.size(), in = m[0].size();
    Map sizes(out, out, channels);
    for (int i = 0; i < out; i++)
        for (int j = 0; j < out; j++)
            for (int r = 0; r < in; r++)
                for (int c = 0; c < in; c++) {
                    const double factor = std::abs(m[i][r] * m[j][c]);
                    for (int n = 0; factor && n < channels; n++) sizes.at(i, j, n) += factor * std::abs(x(r, c, n));
                }
    return sizes;
}

// S of each output of a 3 x 3 convolution.
inline Map term_sizes(Map& in, int outputs, const float* kernel, int tile) {
    const int side = in.rows - 2, points = tile + 2, inputs = in.channels;
    const Matrices of = matrices(tile);
    Map kernels = sizes_of(of.g, inputs * outputs,
                           [&](int r, int c, int n) { return kernel[size_t(r * 3 + c) * inputs * outputs + n]; });
    Map sizes(side, side, outputs);
    for (int ty = 0; ty < side; ty += tile)
        for (int tx = 0; tx < side; tx += tile) {
            const int top = std::min(ty, side - tile), left = std::min(tx, side - tile);
            Map pixels = sizes_of(of.bt, inputs, [&](int r, int c, int n) { return in.at(top + r, left + c, n); });
            Map products(points, points, outputs);
            for (int u = 0; u < points; u++)
                for (int v = 0; v < points; v++)
                    for (int n = 0; n < inputs * outputs; n++)
                        products.at(u, v, n % outputs) += pixels.at(u, v, n / outputs) * kernels.at(u, v, n);
            Map tile_sizes = sizes_of(of.at, outputs, [&](int r, int c, int n) { return products.at(r, c, n); });
            for (int y = 0; y < tile; y++)
                for (int x = 0; x < tile; x++)
                    for (int o = 0; o < outputs; o++) sizes.at(top + y, left + x, o) = tile_sizes.at(y, x, o);
        }
    return sizes;
}

// The bound of each output, with bias and PReLU. A product is rounded once, and again by each addition to a sum of
// all inputs; bias and PReLU round once each. Winograd's sums have fewer terms; but a pass of the input's transform
// rounds up to 3 times, one of the output's, too, and there are two of each; and the kernel is rounded once.
inline Map bound(const facet::Convolution& of, Map& in, const float* kernel, const float* bias, const float* slopes) {
    const int roundings = of.tile ? of.inputs + 1 + 2 + 4 * 3 + 1 : 9 * of.inputs + 1 + 2;
    Map bounds = term_sizes(in, of.outputs, kernel, of.tile ? of.tile : 1);
    for (size_t i = 0; i < bounds.values.size(); i++) {
        const int o = i % of.outputs;
        const double size = (bounds.values[i] + std::abs(bias[o])) * std::max(1.0, double(std::abs(slopes[o])));
        bounds.values[i] = 1.01 * roundings * std::ldexp(1, -24) * size;
    }
    return bounds;
}
