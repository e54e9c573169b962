// The 3 x 3 convolutions of R-Net and O-Net by Winograd's algorithm (winograd.h).
//
// At each position of the transformed tiles a plain product of tiles and weights is left, in the blocks of layer.h:
// output channels in the lanes, inputs broadcast. Rows of tiles are taken together until the registers are
// full; so few are enough that transformed tiles and products stay in the cache.
#pragma once

#include "layer.h"
#include "winograd.h"

namespace facet::FACET_ISA {
namespace {

// C channels into OUT in tiles of TILE x TILE pixels, of which so many rows are taken together as ROWS says.
template <int TILE_, int ROWS_, int C_, int OUT_>
struct Tiled : Layer<3, C_, OUT_> {
    using Plain = Layer<3, C_, OUT_>;
    using Plain::width, Plain::blocks;
    static constexpr int TILE = TILE_, ROWS = ROWS_, SIDE = TILE + 2, POSITIONS = SIDE * SIDE;
    // Whether registers hold the weights and sums of all positions of a column.
    static constexpr bool HALVES = SIDE * (C_ + 1) + 4 <= REGISTERS;
    static constexpr size_t block_floats = width * (2 + static_cast<size_t>(POSITIONS) * C_);
    static constexpr size_t floats = blocks * block_floats;

    // What is left at one position: tiles instead of pixels. Their channels begin at a new vector.
    struct Product : Layer<1, C_, OUT_> {
        static constexpr int from_pixel = C_ == 3 ? 4 : divided_up(C_, LANES) * LANES;
        static constexpr bool activated = false;
    };
    // The workspace for a row of `across` tiles: transformed, and their products for one block of channels.
    static constexpr size_t workspace(int across) {
        return static_cast<size_t>(POSITIONS) * ROWS * across * (Product::from_pixel + width);
    }

    // The transformed kernel of one output channel: by position, input.
    static void pack_kernel(const float* plain, float* packed) {
        for (int input = 0; input < C_; input++)
            transform_kernel<TILE>(plain + input * OUT_, C_ * OUT_, packed + input * width, C_ * width);
    }
};

// Where a tile begins; the last one overlaps the one before it where they do not fill the map.
template <int TILE, int WIDTH>
INLINE int tile_start(int tile) { return smaller(tile * TILE, WIDTH - TILE); }

template <class L>
INLINE void transform_pixels(const float* from, int row, float* to, size_t position) {
    const auto at = [&](int y, int x) { return from + y * row + x * L::C; };
    if constexpr (L::C == 3) return transform_input<L::TILE, V4>(at, to, position);
    else for (int channel = 0; channel < L::C; channel += LANES, from += LANES)
        transform_input<L::TILE, V>(at, to + channel, position);
}

// The first step of the output's transform together with the products of one vector of channels: of each tile
// A^T m, by row of outputs, then column of products. So few inputs make products cheaper than storing them.
template <class L, int TILES>
void halve_products(const float* tiles, const float* packed, float* halves) {
    constexpr int SIDE = L::SIDE, TILE = L::TILE, PIXEL = L::Product::from_pixel, ROW = SIDE * TILES * PIXEL;
    for (int v = 0; v < SIDE; v++, tiles += TILES * PIXEL, halves += LANES) {
        V weights[SIDE][L::C];
        UNROLL for (int u = 0; u < SIDE; u++)
            UNROLL for (int c = 0; c < L::C; c++) weights[u][c] = load(packed + (2 + (u * SIDE + v) * L::C + c) * L::width);
        const V bias = v == 1 ? load(packed) : V{};
        for (int tile = 0; tile < TILES; tile++) {
            V sums[SIDE] = {V{}, bias}, half[TILE];
            UNROLL for (int u = 0; u < SIDE; u++)
                UNROLL for (int c = 0; c < L::C; c++)
                    sums[u] += broadcast(tiles[u * ROW + tile * PIXEL + c]) * weights[u][c];
            Winograd<TILE>::output(sums, half);
            UNROLL for (int y = 0; y < TILE; y++) store(halves + (tile * TILE + y) * SIDE * LANES, half[y]);
        }
    }
}

// The second step: A^T of each row of halves.
template <int TILE>
INLINE void finish_halves(const float* halves, V (&to)[TILE][TILE]) {
    UNROLL for (int y = 0; y < TILE; y++) {
        V m[TILE + 2];
        UNROLL for (int v = 0; v < TILE + 2; v++) m[v] = load(halves + (y * (TILE + 2) + v) * LANES);
        Winograd<TILE>::output(m, to[y]);
    }
}

// One vector of channels of one tile, from products or halves, into rows of pixels L::padded floats apart.
template <class L>
INLINE void finish_tile(const float* from, size_t position, const float* packed, float* const rows[L::TILE], int lane) {
    V outputs[L::TILE][L::TILE];
    if constexpr (L::HALVES) finish_halves(from, outputs);
    else transform_output<L::TILE>(from, position, load(packed), outputs);
    const V slope = load(packed + L::width);
    UNROLL for (int y = 0; y < L::TILE; y++)
        UNROLL for (int x = 0; x < L::TILE; x++) store(rows[y] + x * L::padded + lane, prelu(outputs[y][x], slope));
}

// ROWS rows of tiles from row `first` on, into a ring of RING rows of pixels.
template <class L, int IN_WIDTH, int ROWS, int RING>
void convolve_strip(int first, const float* from, const float* packed, float* workspace, float* ring) {
    using Product = typename L::Product;
    constexpr int TILE = L::TILE, WIDTH = IN_WIDTH - 2, ACROSS = divided_up(WIDTH, TILE), TILES = ROWS * ACROSS;
    constexpr int TOGETHER = L::HALVES ? 1 : L::M;  // vectors of output channels
    constexpr size_t position = TILES * Product::from_pixel, product = TILES * L::width;
    float* products = workspace + L::POSITIONS * position;
    const auto row_of = [&](int tile) { return tile_start<TILE, WIDTH>(first + tile / ACROSS); };
    const auto column_of = [](int tile) { return tile_start<TILE, WIDTH>(tile % ACROSS); };
    for (int tile = 0; tile < TILES; tile++)
        transform_pixels<L>(from + (row_of(tile) * IN_WIDTH + column_of(tile)) * L::C, IN_WIDTH * L::C,
                            workspace + tile * Product::from_pixel, position);
    for (int channel = 0; channel < L::padded; channel += TOGETHER * LANES) {
        const float* weights = packed + channel / L::width * L::block_floats + channel % L::width;
        if constexpr (L::HALVES) halve_products<L, TILES>(workspace, weights, products);
        else for (int p = 0; p < L::POSITIONS; p++)
            block_rows<Product, 0, 1, TILES>(workspace + p * position, weights + (2 + p * L::C) * L::width,
                                             products + p * product, L::width, 0);
        for (int tile = 0; tile < TILES; tile++) {
            float *rows[TILE], *to = ring + column_of(tile) * L::padded + channel;
            for (int y = 0; y < TILE; y++) rows[y] = to + (row_of(tile) + y) % RING * WIDTH * L::padded;
            for (int lane = 0; lane < TOGETHER * LANES; lane += LANES)
                finish_tile<L>(products + tile * (L::HALVES ? L::SIDE * TILE * LANES : L::width) + lane, product,
                               weights + lane, rows, lane);
        }
    }
}

// A convolution with the pool of W x W behind it, for which a ring of the convolution's rows is kept.
template <class L, int IN_WIDTH, int W, bool SAME>
struct Pooled {
    static constexpr int SIDE = IN_WIDTH - 2, TILES = divided_up(SIDE, L::TILE), SIDE_OUT = pooled_side<W, SAME>(SIDE);
    static constexpr int RING = smaller(W - 1 + L::ROWS * L::TILE, SIDE), ROW = SIDE * L::padded;
    static constexpr size_t ring = RING * ROW, workspace = ring + L::workspace(TILES);

    static void run(const float* from, const float* packed, float* workspace, float* to) {
        float* tiles = workspace + ring;
        int pooled = 0, first = 0;
        for (; first + L::ROWS <= TILES; first += L::ROWS) {
            convolve_strip<L, IN_WIDTH, L::ROWS, RING>(first, from, packed, tiles, workspace);
            pooled = pool(pooled, (first + L::ROWS) * L::TILE, workspace, to);
        }
        if constexpr (TILES % L::ROWS) {
            convolve_strip<L, IN_WIDTH, TILES % L::ROWS, RING>(first, from, packed, tiles, workspace);
            pool(pooled, SIDE, workspace, to);
        }
    }

private:
    // All rows from row `y` on whose windows end before row `reached` of the convolution; gives the next one.
    static int pool(int y, int reached, const float* ring, float* to) {
        for (; y < SIDE_OUT && smaller(2 * y + W, SIDE) <= reached; y++) {
            const float* rows[W];
            for (int row = 0; row < W; row++) rows[row] = ring + smaller(2 * y + row, SIDE - 1) % RING * ROW;
            facet::FACET_ISA::pool_row<W, SAME, SIDE, L::OUT, L::padded>(rows, to + y * SIDE_OUT * L::OUT);
        }
        return y;
    }
};

}  // namespace
}  // namespace facet::FACET_ISA
