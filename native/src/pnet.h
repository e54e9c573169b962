// P-Net, streamed over a level by rows of tiles. A tile is 4 x 4 pixels, and vectors hold tiles, side by side in their
// row: the pixels of column x of a map are lane x / 4 of plane x % 4, and each channel has four planes.
//
// The second and the third convolution are Winograd's F(4 x 4, 3 x 3). With tiles in the lanes its transforms are
// sums of whole vectors, and its products small matrix products whose weights are broadcast. The first
// convolution is F(2 x 2, 3 x 3) and one step with its pool, whose windows are its tiles.
#pragma once

#include "kernels.h"
#include "resize.h"
#include "vectors.h"
#include "winograd.h"

namespace facet::FACET_ISA {
namespace {

constexpr int C1 = 10, C2 = 16, C3 = 32;
constexpr int TILE = 4, TILE_SIDE = TILE + 2, POSITIONS = TILE_SIDE * TILE_SIDE;
constexpr int POOL_SIDE = 4, POOL_POSITIONS = POOL_SIDE * POOL_SIDE;

// Output channels that are computed together: as many as were found to be fastest.
constexpr int POOLED_CHANNELS = 2, BLOCK_CHANNELS = LANES == 4 ? 16 : 8;

// Rows that are kept of the level, of the first layer's output and of the second's.
constexpr int LEVEL_RING = POOL_SIDE, POOLED_RING = TILE_SIDE, SECOND_RING = 2 * TILE;

// --- weights, which are read one by one and broadcast -----------------------------------------------------

struct Proposal {
    static constexpr size_t first = 0;
    static constexpr size_t second = first + C1 * (2 + POOL_POSITIONS * 3);
    static constexpr size_t third = second + C2 * (2 + POSITIONS * C1);
    static constexpr size_t heads = third + C3 * (2 + POSITIONS * C2);
    static constexpr size_t floats = heads + PNET_HEADS * (1 + C3);
};

// A layer in tiles of M x M: bias, slopes, then for each block of `block` outputs the transformed kernels by position
// and input, those of the block side by side.
template <int M>
const float* pack_layer(const float* plain, int inputs, int outputs, int block, float* packed) {
    constexpr int positions = Winograd<M>::SIDE * Winograd<M>::SIDE;
    const size_t values = static_cast<size_t>(inputs) * outputs;
    const float* bias = plain + 9 * values;
    for (int i = 0; i < 2 * outputs; i++) *packed++ = bias[i];
    for (int o = 0; o < outputs; o++)
        for (int input = 0; input < inputs; input++)
            transform_kernel<M>(plain + input * outputs + o, values,
                                packed + (o / block * positions * inputs + input) * block + o % block, inputs * block);
    return bias + 2 * outputs;
}

inline void pack_pnet(const float* plain, float* packed) {
    plain = pack_layer<2>(plain, 3, C1, POOLED_CHANNELS, packed + Proposal::first);
    plain = pack_layer<TILE>(plain, C1, C2, BLOCK_CHANNELS, packed + Proposal::second);
    plain = pack_layer<TILE>(plain, C2, C3, BLOCK_CHANNELS, packed + Proposal::third);
    packed += Proposal::heads;  // for each head its bias and its weights
    for (int head = 0; head < PNET_HEADS; head++) {
        *packed++ = plain[C3 * PNET_HEADS + head];
        for (int input = 0; input < C3; input++) *packed++ = plain[input * PNET_HEADS + head];
    }
}

// --- shapes and rings -------------------------------------------------------------------------------------

struct Shape {
    int pooled_width, pooled_height;
    // Floats from plane to plane. Whole vectors may be read and written at any tile of a row and the one after it,
    // and an odd number of cache lines keeps the planes from all falling into one set of the cache.
    size_t plane;

    explicit INLINE Shape(int level_width, int level_height)
        : pooled_width(divided_up(level_width - 2, 2)),
          pooled_height(divided_up(level_height - 2, 2)),
          plane((divided_up(divided_up(pooled_width, TILE) + LANES + 1, 16) | 1) * static_cast<size_t>(16)) {}
};

// A few rows of so many floats; row y is where row y - ROWS was.
template <int ROWS>
struct Ring {
    float* memory;
    size_t row_floats;
    INLINE float* row(int y) const { return memory + (y % ROWS) * row_floats; }
};

// For one vector of tiles: transformed inputs, products of a block of channels, and the third layer's output.
constexpr size_t PRODUCTS = POSITIONS * C2 * LANES;
constexpr size_t FEATURES = PRODUCTS + POSITIONS * BLOCK_CHANNELS * LANES;
constexpr size_t TILE_FLOATS = FEATURES + C3 * TILE * TILE * LANES;

size_t level_floats(int picture_width, int level_width) {
    const size_t plane = Shape(level_width, level_width).plane;
    const size_t planes = LEVEL_RING * 3 * LEVEL_PLANES + TILE * (POOLED_RING * C1 + SECOND_RING * C2);
    return planes * plane + TILE_FLOATS + TILE * TILE * plane * (1 + PNET_HEADS) + summed_floats(picture_width);
}

// Calls `each` with the first of so many tiles and a vector of the size to take: whole ones, and smaller ones for
// the rest.
template <class F>
INLINE void over_tiles(int tiles, const F& each) {
    int tile = 0;
    for (; tiles - tile > lanes<Half>; tile += LANES) each(tile, V{});
    if (tiles - tile > lanes<V4>) each(tile, Half{});
    else if (tiles > tile) each(tile, V4{});
}

// --- the first convolution and its pooling ----------------------------------------------------------------

struct PooledRow {
    const float* rows[POOL_SIDE];  // of the level
    size_t plane;
    int width;       // of the pooled row
    bool one_row;    // the pool is cut at the lower edge
    bool one_column; // the last pool is cut at the right edge
};

// One position's products of N channels.
template <class T, int N>
INLINE void add_products(const float* pixels, const float* weights, T (&sums)[N]) {
    UNROLL for (int colour = 0; colour < 3; colour++) {
        const T value = load<T>(pixels + colour * lanes<T>);
        UNROLL for (int n = 0; n < N; n++) sums[n] += broadcast<T>(weights[colour * N + n]) * value;
    }
}

// What one row of positions gives to both columns of a pool, by F(2, 3) along the row. Products that both columns need
// come first, so that no more than these two sums are kept.
template <class T, int N>
INLINE void multiply_row(const float* pixels, const float* weights, T (&left)[N], T (&right)[N]) {
    constexpr int P = 3 * lanes<T>, W = 3 * N;
    T difference[N] = {};
    add_products(pixels + P, weights + W, left);
    add_products(pixels + 2 * P, weights + 2 * W, difference);
    UNROLL for (int n = 0; n < N; n++) {
        right[n] = left[n] - difference[n];
        left[n] += difference[n];
    }
    add_products(pixels, weights, left);
    add_products(pixels + 3 * P, weights + 3 * W, right);
}

// One vector of pools of N channels: convolution, PReLU, and the largest of 2 x 2. `cut` is the lane whose pool
// has one column, or -1.
template <class T, int N>
INLINE void pool_block(const float* pixels, const float* bias, const float* weights, bool one_row, int cut, T (&to)[N]) {
    constexpr int P = POOL_SIDE * 3 * lanes<T>, W = POOL_SIDE * 3 * N;
    T rows[POOL_SIDE][2][N] = {};
    UNROLL for (int n = 0; n < N; n++) rows[1][0][n] = broadcast<T>(bias[n]);
    UNROLL for (int row = 0; row < POOL_SIDE; row++)
        multiply_row(pixels + row * P, weights + row * W, rows[row][0], rows[row][1]);
    UNROLL for (int n = 0; n < N; n++) {
        const T slope = broadcast<T>(bias[C1 + n]);
        T most[2];
        UNROLL for (int column = 0; column < 2; column++) {
            const T sum = rows[1][column][n], difference = rows[2][column][n];
            most[column] = prelu(rows[0][column][n] + sum + difference, slope);
            if (!one_row) most[column] = larger(most[column], prelu(rows[3][column][n] + sum - difference, slope));
        }
        if (cut >= 0) most[1][cut] = most[0][cut];
        to[n] = larger(most[0], most[1]);
    }
}

void pool_row(const PooledRow& in, const float* packed, float* to) {
    constexpr int N = POOLED_CHANNELS;
    const int last = in.width - 1;
    for (int column = 0; column < TILE; column++)
        over_tiles(divided_up(in.width, TILE), [&](int tile, auto vector) {
            using T = decltype(vector);
            size_t columns[POOL_SIDE];
            for (int x = 0; x < POOL_SIDE; x++) {
                const int at = 2 * column + x;
                columns[x] = at % LEVEL_PLANES * in.plane + at / LEVEL_PLANES + tile;
            }
            alignas(64) float pixels[POOL_POSITIONS * 3 * lanes<T>];
            for (int colour = 0; colour < 3; colour++) {
                const size_t offset = colour * LEVEL_PLANES * in.plane;
                transform_input<2, T>([&](int y, int x) { return in.rows[y] + offset + columns[x]; },
                                      pixels + colour * lanes<T>, 3 * lanes<T>);
            }
            const int last_lane = last / TILE - tile;
            const bool cut = in.one_column && last % TILE == column && last_lane < lanes<T>;
            for (int first = 0; first < C1; first += N) {
                T pooled[N];
                pool_block(pixels, packed + first, packed + 2 * C1 + first * POOL_POSITIONS * 3, in.one_row,
                           cut ? last_lane : -1, pooled);
                UNROLL for (int n = 0; n < N; n++)
                    store(to + ((first + n) * TILE + column) * in.plane + tile, pooled[n]);
            }
        });
}

// --- the other convolutions -------------------------------------------------------------------------------

// Where tiles come from, or go: rows of planes.
template <int ROWS>
struct TileRows {
    float* rows[ROWS];
    size_t plane;

    template <int RING>
    INLINE TileRows(const Ring<RING>& ring, int y, int tile, size_t plane) : plane(plane) {
        for (int row = 0; row < ROWS; row++) rows[row] = ring.row(y + row) + tile;
    }
    INLINE float* at(int channel, int y, int x) const {
        return rows[y] + (channel * TILE + x % TILE) * plane + x / TILE;
    }
};

// The products of one vector of tiles with the weights of a block of channels, by position.
template <class T, int INPUTS>
INLINE void multiply_tiles(const float* tiles, const float* weights, float* to) {
    constexpr int N = BLOCK_CHANNELS;
    for (int position = 0; position < POSITIONS; position++) {
        T sums[N] = {};
        for (int input = 0; input < INPUTS; input++, tiles += lanes<T>, weights += N) {
            const T value = load<T>(tiles);
            UNROLL for (int n = 0; n < N; n++) sums[n] += broadcast<T>(weights[n]) * value;
        }
        UNROLL for (int n = 0; n < N; n++, to += lanes<T>) store(to, sums[n]);
    }
}

// All OUTPUTS channels of one vector of tiles, with PReLU.
template <class T, int INPUTS, int OUTPUTS>
void convolve_tiles(TileRows<TILE_SIDE> from, const float* packed, float* workspace, TileRows<TILE> to) {
    constexpr int N = BLOCK_CHANNELS;
    float* products = workspace + PRODUCTS;
    for (int input = 0; input < INPUTS; input++)
        transform_input<TILE, T>([&](int y, int x) { return from.at(input, y, x); }, workspace + input * lanes<T>,
                                 INPUTS * lanes<T>);
    for (int first = 0; first < OUTPUTS; first += N) {
        multiply_tiles<T, INPUTS>(workspace, packed + 2 * OUTPUTS + first * POSITIONS * INPUTS, products);
        for (int n = 0; n < N; n++) {
            const T bias = broadcast<T>(packed[first + n]), slope = broadcast<T>(packed[OUTPUTS + first + n]);
            T out[TILE][TILE];
            transform_output<TILE>(products + n * lanes<T>, N * lanes<T>, bias, out);
            UNROLL for (int y = 0; y < TILE; y++)
                UNROLL for (int x = 0; x < TILE; x++) store(to.at(first + n, y, x), prelu(out[y][x], slope));
        }
    }
}

// Rows y to y + 3 of the second layer.
void second_rows(const Ring<POOLED_RING>& pooled, int y, const Shape& shape, const float* packed, float* workspace,
                 const Ring<SECOND_RING>& second) {
    over_tiles(divided_up(shape.pooled_width - 2, TILE), [&](int tile, auto vector) {
        convolve_tiles<decltype(vector), C1, C2>({pooled, y, tile, shape.plane}, packed + Proposal::second, workspace,
                                                 {second, y, tile, shape.plane});
    });
}

// --- the third convolution, the score, and the regression where the score passes ----------------------------

struct Found {
    float least;
    int width, rows;     // of the cells that there are
    float* heads[TILE];  // of each row's cells found so far
    int* columns[TILE];
    int count[TILE];
};

INLINE float head(const float* packed, const float* feature, size_t channel) {
    float sum = packed[0];
    for (int input = 0; input < C3; input++) sum += packed[1 + input] * feature[input * channel];
    return sum;
}

template <class T>
INLINE void find_cells(TileRows<TILE> features, const float* packed, int tile, Found& found) {
    for (int row = 0; row < found.rows; row++) {
        T logits[TILE];
        UNROLL for (int x = 0; x < TILE; x++) logits[x] = broadcast<T>(packed[0]);
        for (int input = 0; input < C3; input++)
            UNROLL for (int x = 0; x < TILE; x++)
                logits[x] += broadcast<T>(packed[1 + input]) * load<T>(features.at(input, row, x));
        const T most = larger(larger(logits[0], logits[1]), larger(logits[2], logits[3]));
        for (int lane = 0; lane < lanes<T>; lane++) {
            if (!(most[lane] > found.least)) continue;
            for (int x = 0; x < TILE; x++) {
                const int column = (tile + lane) * TILE + x;
                if (!(logits[x][lane] > found.least) || column >= found.width) continue;
                float* heads = found.heads[row] + PNET_HEADS * found.count[row];
                heads[0] = logits[x][lane];
                for (int number = 1; number < PNET_HEADS; number++)
                    heads[number] = head(packed + number * (1 + C3), features.at(0, row, x) + lane, TILE * features.plane);
                found.columns[row][found.count[row]++] = column;
            }
        }
    }
}

// Rows y to y + 3 of the cells.
void third_rows(const Ring<SECOND_RING>& second, int y, const Shape& shape, const float* packed, float* workspace,
                Found& found) {
    const TileRows<TILE> features(Ring<TILE>{workspace + FEATURES, C3 * TILE * LANES}, 0, 0, LANES);
    over_tiles(divided_up(found.width, TILE), [&](int tile, auto vector) {
        using T = decltype(vector);
        convolve_tiles<T, C2, C3>({second, y, tile, shape.plane}, packed + Proposal::third, workspace, features);
        find_cells<T>(features, packed + Proposal::heads, tile, found);
    });
}

// --- all of it --------------------------------------------------------------------------------------------

// The level itself, (height, width, 3).
void resize(const Level& level, float* workspace, float* out) {
    const size_t plane = Shape(level.width, level.height).plane;
    float* summed = workspace + 3 * LEVEL_PLANES * plane;
    for (int y = 0; y < level.height; y++) {
        level_row(level, y, summed, plane, workspace);
        for (int x = 0; x < level.width; x++)
            for (int colour = 0; colour < 3; colour++)
                *out++ = workspace[(LEVEL_PLANES * colour + x % LEVEL_PLANES) * plane + x / LEVEL_PLANES];
    }
}

// What is kept of a level, and how far it is.
struct Stream {
    const Level& level;
    const float* packed;
    Shape shape;
    Ring<LEVEL_RING> levels;
    Ring<POOLED_RING> pooled;
    Ring<SECOND_RING> second;
    float *workspace, *rest;
    int level_rows = 0, pooled_rows = 0, rows = 0;

    INLINE Stream(const Level& level, const float* packed, float* memory)
        : level(level), packed(packed), shape(level.width, level.height), levels{memory, 3 * LEVEL_PLANES * shape.plane},
          pooled{levels.memory + LEVEL_RING * levels.row_floats, C1 * TILE * shape.plane},
          second{pooled.memory + POOLED_RING * pooled.row_floats, C2 * TILE * shape.plane},
          workspace(second.memory + SECOND_RING * second.row_floats), rest(workspace + TILE_FLOATS) {}

    // Each goes on until the rows before `end` are there, or all that there are.
    INLINE void pool_until(int end, float* summed) {
        for (; pooled_rows < smaller(end, shape.pooled_height); pooled_rows++) {
            const int top = 2 * pooled_rows;
            for (; level_rows < smaller(top + POOL_SIDE, level.height); level_rows++)
                level_row(level, level_rows, summed, shape.plane, levels.row(level_rows));
            pool_row({{levels.row(top), levels.row(top + 1), levels.row(top + 2), levels.row(top + 3)}, shape.plane,
                      shape.pooled_width, top + 3 == level.height, level.width % 2 == 1},
                     packed + Proposal::first, pooled.row(pooled_rows));
        }
    }
    INLINE void second_until(int end, float* summed) {
        for (; rows < smaller(end, shape.pooled_height - 2); rows += TILE) {
            pool_until(rows + TILE_SIDE, summed);
            second_rows(pooled, rows, shape, packed, workspace, second);
        }
    }
};

void propose(const Level& level, const float* packed, float least, float* workspace, Sink sink) {
    Stream stream(level, packed, workspace);
    const int height = stream.shape.pooled_height - 4;
    const size_t cells = TILE * stream.shape.plane;  // of a row
    Found found{least, stream.shape.pooled_width - 4, 0, {}, {}, {}};
    float* summed = stream.rest + TILE * (1 + PNET_HEADS) * cells;
    for (int row = 0; row < TILE; row++) {
        found.heads[row] = stream.rest + row * PNET_HEADS * cells;
        found.columns[row] = reinterpret_cast<int*>(stream.rest + (TILE * PNET_HEADS + row) * cells);
    }
    for (int y = 0; y < height; y += TILE) {
        stream.second_until(y + TILE_SIDE, summed);
        found.rows = smaller(TILE, height - y);
        for (int& count : found.count) count = 0;
        third_rows(stream.second, y, stream.shape, packed, stream.workspace, found);
        for (int row = 0; row < found.rows; row++)
            if (found.count[row]) sink.take(sink.receiver, y + row, found.count[row], found.columns[row], found.heads[row]);
    }
}

}  // namespace
}  // namespace facet::FACET_ISA
