// P-Net, streamed over a level row by row. Pixels of a row lie in the lanes of vectors, channels in planes.
//
// A row of the result needs three rows of each layer's input, so that is what is kept: rings of a few rows.
// The first convolution and its pooling are one step. It reads even and odd columns from separate
// planes, so that the four values that a pool compares are the same lane of four vectors.
#pragma once

#include "kernels.h"
#include "resize.h"
#include "vectors.h"

namespace facet::FACET_ISA {
namespace {

constexpr int C1 = 10, C2 = 16, C3 = 32;

// Output channels and vectors of pixels that are computed together in registers.
constexpr int POOLED_CHANNELS = REGISTERS == 32 ? 5 : 2;
constexpr int BLOCK_CHANNELS = REGISTERS == 32 ? 8 : 4;
constexpr int BLOCK_VECTORS = 3;

constexpr int LEVEL_RING = 4, RING = 3;

// --- weights, which are read one by one and broadcast -----------------------------------------------------

struct Proposal {
    static constexpr size_t first = 0;
    static constexpr size_t second = first + C1 * (2 + 27);
    static constexpr size_t third = second + C2 * (2 + 9 * C1);
    static constexpr size_t heads = third + C3 * (2 + 9 * C2);
    static constexpr size_t floats = heads + PNET_HEADS * (1 + C3);
};

// A layer: bias, slopes, then for each block of `block` outputs the weights by row, input, column
// (by input, row, column where `inputs_first`), those of the block side by side.
inline const float* pack_layer(const float* plain, int inputs, int outputs, int block, bool inputs_first,
                               float* packed) {
    const float *kernel = plain, *bias = plain + 9 * inputs * outputs, *slopes = bias + outputs;
    for (int o = 0; o < outputs; o++) *packed++ = bias[o];
    for (int o = 0; o < outputs; o++) *packed++ = slopes[o];
    for (int first = 0; first < outputs; first += block)
        for (int outer = 0; outer < 3 * inputs; outer++)
            for (int column = 0; column < 3; column++)
                for (int o = first; o < first + block; o++) {
                    const int row = inputs_first ? outer % 3 : outer / inputs;
                    const int input = inputs_first ? outer / 3 : outer % inputs;
                    *packed++ = kernel[((row * 3 + column) * inputs + input) * outputs + o];
                }
    return slopes + outputs;
}

inline void pack_pnet(const float* plain, float* packed) {
    plain = pack_layer(plain, 3, C1, POOLED_CHANNELS, true, packed + Proposal::first);
    plain = pack_layer(plain, C1, C2, BLOCK_CHANNELS, false, packed + Proposal::second);
    plain = pack_layer(plain, C2, C3, BLOCK_CHANNELS, false, packed + Proposal::third);
    packed += Proposal::heads;  // for each head its bias and its weights
    for (int head = 0; head < PNET_HEADS; head++) {
        *packed++ = plain[C3 * PNET_HEADS + head];
        for (int input = 0; input < C3; input++) *packed++ = plain[input * PNET_HEADS + head];
    }
}

// --- shapes and rings -------------------------------------------------------------------------------------

// Floats from plane to plane. Whole blocks may be read and written at any place in a row, and an
// odd number of cache lines keeps the planes from all falling into one set of the cache.
INLINE size_t plane_floats(int columns) {
    return (divided_up(columns + (BLOCK_VECTORS + 1) * LANES, 16) | 1) * static_cast<size_t>(16);
}

struct Shape {
    int pooled_width, pooled_height;
    size_t plane;  // of half the level's columns, which is also that of the pooled ones

    explicit INLINE Shape(int level_width, int level_height)
        : pooled_width(divided_up(level_width - 2, 2)),
          pooled_height(divided_up(level_height - 2, 2)),
          plane(plane_floats(pooled_width + 1)) {}
};

// A few rows of so many planes; row y is where row y - rows was.
template <int ROWS>
struct Ring {
    float* memory;
    size_t row_floats;
    INLINE float* row(int y) const { return memory + (y % ROWS) * row_floats; }
};

size_t level_floats(int picture_width, int level_width) {
    const size_t plane = Shape(level_width, level_width).plane;
    const size_t planes = LEVEL_RING * 6 + RING * (C1 + C2);
    return planes * plane + summed_floats(picture_width) + C3 * BLOCK_VECTORS * LANES
           + plane * (1 + PNET_HEADS);
}

// --- the first convolution and its pooling ----------------------------------------------------------------

// Level rows come as six planes: even columns of red, odd columns of red, even columns of green ...
struct PooledRow {
    const float* rows[4];  // of the level
    size_t plane;
    int width;       // of the pooled row
    bool one_row;    // the pool is cut at the lower edge
    bool one_column; // the last pool is cut at the right edge
};

template <int N>
INLINE void convolve_pairs(const PooledRow& in, int x, const float* weights, V (&sums)[2][2][N]) {
    for (int colour = 0; colour < 3; colour++, weights += 9 * N) {
        UNROLL for (int row = 0; row < 4; row++) {
            const float* even = in.rows[row] + 2 * colour * in.plane + x;
            const float* odd = even + in.plane;
            const V pixels[4] = {load(even), load(odd), load(even + 1), load(odd + 1)};
            UNROLL for (int out = 0; out < 2; out++) {
                if (row < out || row > out + 2) continue;
                const float* of_row = weights + (row - out) * 3 * N;
                UNROLL for (int column = 0; column < 3; column++)
                    UNROLL for (int n = 0; n < N; n++) {
                        const V weight = broadcast(of_row[column * N + n]);
                        sums[out][0][n] += weight * pixels[column];
                        sums[out][1][n] += weight * pixels[column + 1];
                    }
            }
        }
    }
}

INLINE V last_lane_from(V value, V other, int lane) {
    value[lane] = other[lane];
    return value;
}

// One vector of N channels: convolution, PReLU, and the largest of 2 x 2.
template <int N>
INLINE void pool_block(const PooledRow& in, int x, const float* bias, const float* weights, float* to) {
    V sums[2][2][N];
    UNROLL for (int n = 0; n < N; n++)
        sums[0][0][n] = sums[0][1][n] = sums[1][0][n] = sums[1][1][n] = broadcast(bias[n]);
    convolve_pairs<N>(in, x, weights, sums);
    const bool cut = in.one_column && x + LANES >= in.width;
    UNROLL for (int n = 0; n < N; n++) {
        const V slope = broadcast(bias[C1 + n]);
        V even = prelu(sums[0][0][n], slope), odd = prelu(sums[0][1][n], slope);
        if (!in.one_row) {
            even = larger(even, prelu(sums[1][0][n], slope));
            odd = larger(odd, prelu(sums[1][1][n], slope));
        }
        if (cut) odd = last_lane_from(odd, even, in.width - 1 - x);
        store(to + n * in.plane + x, larger(even, odd));
    }
}

void pool_row(const PooledRow& in, const float* packed, float* to) {
    constexpr int N = POOLED_CHANNELS;
    for (int first = 0; first < C1; first += N)
        for (int x = 0; x < in.width; x += LANES)
            pool_block<N>(in, x, packed + first, packed + 2 * C1 + first * 27, to + first * in.plane);
}

// --- the other convolutions -------------------------------------------------------------------------------

// N channels by M vectors of pixels of a 3 x 3 convolution.
template <int INPUTS, int N, int M>
INLINE void convolve_block(const float* const rows[3], size_t plane, const float* weights, V (&sums)[N][M]) {
    for (int row = 0; row < 3; row++) {
        const float* from = rows[row];
        for (int input = 0; input < INPUTS; input++, from += plane)
            UNROLL for (int column = 0; column < 3; column++, weights += N) {
                V pixels[M];
                UNROLL for (int m = 0; m < M; m++) pixels[m] = load(from + column + m * LANES);
                UNROLL for (int n = 0; n < N; n++) {
                    const V weight = broadcast(weights[n]);
                    UNROLL for (int m = 0; m < M; m++) sums[n][m] += weight * pixels[m];
                }
            }
    }
}

// All OUTPUTS channels of M vectors of pixels, with PReLU, into planes `to_plane` floats apart.
template <int INPUTS, int OUTPUTS, int M>
void convolve_tile(const float* const rows[3], size_t plane, const float* packed, float* to, size_t to_plane) {
    constexpr int N = BLOCK_CHANNELS;
    for (int first = 0; first < OUTPUTS; first += N) {
        const float *bias = packed + first, *weights = packed + 2 * OUTPUTS + first * 9 * INPUTS;
        V sums[N][M];
        UNROLL for (int n = 0; n < N; n++)
            UNROLL for (int m = 0; m < M; m++) sums[n][m] = broadcast(bias[n]);
        convolve_block<INPUTS, N, M>(rows, plane, weights, sums);
        UNROLL for (int n = 0; n < N; n++) {
            const V slope = broadcast(bias[OUTPUTS + n]);
            UNROLL for (int m = 0; m < M; m++)
                store(to + (first + n) * to_plane + m * LANES, prelu(sums[n][m], slope));
        }
    }
}

// Vectors of the next tile: as many as fit, but rather twice two than three and one.
INLINE int next_tile(int columns) {
    const int vectors = divided_up(columns, LANES);
    return vectors == 4 ? 2 : vectors < BLOCK_VECTORS ? vectors : BLOCK_VECTORS;
}

template <int INPUTS, int OUTPUTS>
INLINE void convolve_tiles(int vectors, const float* const rows[3], size_t plane, const float* packed,
                           float* to, size_t to_plane) {
    if (vectors == 1) return convolve_tile<INPUTS, OUTPUTS, 1>(rows, plane, packed, to, to_plane);
    if (vectors == 2) return convolve_tile<INPUTS, OUTPUTS, 2>(rows, plane, packed, to, to_plane);
    convolve_tile<INPUTS, OUTPUTS, BLOCK_VECTORS>(rows, plane, packed, to, to_plane);
}

void second_row(const Ring<RING>& pooled, int y, const Shape& shape, const float* packed, float* to) {
    const int width = shape.pooled_width - 2;
    for (int x = 0, vectors; x < width; x += vectors * LANES) {
        vectors = next_tile(width - x);
        const float* rows[3] = {pooled.row(y) + x, pooled.row(y + 1) + x, pooled.row(y + 2) + x};
        convolve_tiles<C1, C2>(vectors, rows, shape.plane, packed, to + x, shape.plane);
    }
}

// --- the third convolution, the score, and the regression where the score passes ----------------------------

struct Found {
    float least;
    float* features;  // of a tile: C3 planes
    float* heads;     // of the row's cells found so far
    int* columns;
    int count;
};

INLINE float head(const float* packed, const float* feature, int plane) {
    float sum = packed[0];
    for (int input = 0; input < C3; input++) sum += packed[1 + input] * feature[input * plane];
    return sum;
}

INLINE void find_cells(const float* packed, int x, int width, int tile, Found& found) {
    constexpr int plane = BLOCK_VECTORS * LANES;
    for (int start = 0; start < tile; start += LANES) {
        V logits = broadcast(packed[0]);
        for (int input = 0; input < C3; input++)
            logits += broadcast(packed[1 + input]) * load(found.features + input * plane + start);
        for (int lane = 0; lane < LANES && x + start + lane < width; lane++) {
            if (!(logits[lane] > found.least)) continue;
            float* heads = found.heads + PNET_HEADS * found.count;
            heads[0] = logits[lane];
            for (int number = 1; number < PNET_HEADS; number++)
                heads[number] = head(packed + number * (1 + C3), found.features + start + lane, plane);
            found.columns[found.count++] = x + start + lane;
        }
    }
}

void third_row(const Ring<RING>& second, int y, const Shape& shape, const float* packed, Found& found) {
    const int width = shape.pooled_width - 4;
    for (int x = 0, vectors; x < width; x += vectors * LANES) {
        vectors = next_tile(width - x);
        const float* rows[3] = {second.row(y) + x, second.row(y + 1) + x, second.row(y + 2) + x};
        convolve_tiles<C2, C3>(vectors, rows, shape.plane, packed + Proposal::third, found.features,
                               BLOCK_VECTORS * LANES);
        find_cells(packed + Proposal::heads, x, width, vectors * LANES, found);
    }
}

// --- all of it --------------------------------------------------------------------------------------------

// The level itself, (height, width, 3).
void resize(const Level& level, float* workspace, float* out) {
    const size_t plane = Shape(level.width, level.height).plane;
    float* summed = workspace + 6 * plane;
    for (int y = 0; y < level.height; y++) {
        level_row(level, y, summed, plane, workspace);
        for (int x = 0; x < level.width; x++)
            for (int colour = 0; colour < 3; colour++) *out++ = workspace[(2 * colour + x % 2) * plane + x / 2];
    }
}

void propose(const Level& level, const float* packed, float least, float* workspace, Sink sink) {
    const Shape shape(level.width, level.height);
    const size_t plane = shape.plane;
    const Ring<LEVEL_RING> levels{workspace, 6 * plane};
    const Ring<RING> pooled{levels.memory + LEVEL_RING * levels.row_floats, C1 * plane};
    const Ring<RING> second{pooled.memory + RING * pooled.row_floats, C2 * plane};
    float* summed = second.memory + RING * second.row_floats;
    Found found{least, summed + summed_floats(level.picture.width), nullptr, nullptr, 0};
    found.heads = found.features + C3 * BLOCK_VECTORS * LANES;
    found.columns = reinterpret_cast<int*>(found.heads + PNET_HEADS * plane);
    int reached = 0;
    for (int y = 0; y < shape.pooled_height; y++) {
        for (; reached < level.height && reached < 2 * y + 4; reached++)
            level_row(level, reached, summed, plane, levels.row(reached));
        const PooledRow row{{levels.row(2 * y), levels.row(2 * y + 1), levels.row(2 * y + 2), levels.row(2 * y + 3)},
                            plane, shape.pooled_width, 2 * y + 3 == level.height, level.width % 2 == 1};
        pool_row(row, packed + Proposal::first, pooled.row(y));
        if (y >= 2) second_row(pooled, y - 2, shape, packed + Proposal::second, second.row(y - 2));
        if (y < 4) continue;
        found.count = 0;
        third_row(second, y - 4, shape, packed, found);
        if (found.count) sink.take(sink.receiver, y - 4, found.count, found.columns, found.heads);
    }
}

}  // namespace
}  // namespace facet::FACET_ISA
