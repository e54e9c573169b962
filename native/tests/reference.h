// The networks as plain loops in double precision, and weights made up for them.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels.h"

// (rows, columns, channels)
struct Map {
    int rows, columns, channels;
    std::vector<double> values;
    Map(int r, int c, int n) : rows(r), columns(c), channels(n), values(size_t(r) * c * n) {}
    double& at(int y, int x, int n) { return values[(size_t(y) * columns + x) * channels + n]; }
};

// A convolution and the pool behind it: its window, 0 for none, and whether it is padded. Dense layers
// are convolutions as large as their input.
struct Shape {
    int side, inputs, outputs, pool;
    bool same;
};

inline const std::vector<Shape> LAYERS[] = {
    {{3, 3, 10, 2, true}, {3, 10, 16, 0, false}, {3, 16, 32, 0, false}},
    {{3, 3, 28, 3, true}, {3, 28, 48, 3, false}, {2, 48, 64, 0, false}, {3, 64, 128, 0, false}},
    {{3, 3, 32, 3, true}, {3, 32, 64, 3, false}, {3, 64, 64, 2, true}, {2, 64, 128, 0, false}, {3, 128, 256, 0, false}},
};
constexpr int HEADS[] = {facet::PNET_HEADS, facet::RNET_HEADS, facet::ONET_HEADS};

// Values stay near one; slopes have either sign, and some are above one.
inline std::vector<float> made_up(int network, std::mt19937& generator) {
    std::vector<float> plain;
    const auto add = [&](int count, double scale) {
        std::normal_distribution<float> normal(0, static_cast<float>(scale));
        for (int i = 0; i < count; i++) plain.push_back(normal(generator));
    };
    int width = 0;
    for (const Shape& layer : LAYERS[network]) {
        const int inputs = layer.side * layer.side * layer.inputs;
        add(inputs * layer.outputs, 1 / std::sqrt(inputs));
        add(layer.outputs, 0.2);
        add(layer.outputs, 0.7);
        width = layer.outputs;
    }
    add(width * HEADS[network], 1 / std::sqrt(width));
    add(HEADS[network], 0.2);
    return plain;
}

inline Map convolved(Map& in, int side, int outputs, const float* kernel, const float* bias, const float* slopes) {
    Map out(in.rows - side + 1, in.columns - side + 1, outputs);
    for (int y = 0; y < out.rows; y++)
        for (int x = 0; x < out.columns; x++)
            for (int o = 0; o < outputs; o++) {
                double sum = bias[o];
                for (int i = 0; i < side * side * in.channels; i++) {
                    const int channel = i % in.channels, column = i / in.channels % side, row = i / in.channels / side;
                    sum += in.at(y + row, x + column, channel) * kernel[size_t(i) * outputs + o];
                }
                out.at(y, x, o) = sum > 0 || !slopes ? sum : sum * slopes[o];
            }
    return out;
}

inline Map pooled(Map& in, int window, bool same) {
    const auto side = [&](int length) { return same ? (length + 1) / 2 : (length - window) / 2 + 1; };
    Map out(side(in.rows), side(in.columns), in.channels);
    for (int y = 0; y < out.rows; y++)
        for (int x = 0; x < out.columns; x++)
            for (int n = 0; n < in.channels; n++) {
                double most = -std::numeric_limits<double>::infinity();
                for (int row = 2 * y; row < std::min(2 * y + window, in.rows); row++)
                    for (int column = 2 * x; column < std::min(2 * x + window, in.columns); column++)
                        most = std::max(most, in.at(row, column, n));
                out.at(y, x, n) = most;
            }
    return out;
}

// The heads of a network.
inline Map heads_of(int network, const std::vector<float>& plain, Map map) {
    const float* at = plain.data();
    for (const Shape& layer : LAYERS[network]) {
        const float *bias = at + layer.side * layer.side * layer.inputs * layer.outputs, *slopes = bias + layer.outputs;
        map = convolved(map, layer.side, layer.outputs, at, bias, slopes);
        if (layer.pool) map = pooled(map, layer.pool, layer.same);
        at = slopes + layer.outputs;
    }
    return convolved(map, 1, HEADS[network], at, at + map.channels * HEADS[network], nullptr);
}
