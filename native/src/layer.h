// Convolutions, dense layers and pools of R-Net and O-Net. Maps are (rows, columns, channels), and output
// channels lie in the lanes of vectors: each input value is broadcast to all of them.
//
// All sizes are known to the compiler, so that a block of sums stays in registers while all inputs pass.
#pragma once

#include "kernels.h"
#include "vectors.h"

namespace facet::FACET_ISA {
namespace {

// K x K convolution of C channels into OUT, with bias and PReLU. A dense layer is one with K = 1 whose
// pixels are crops, and a layer without PReLU is one with slopes of 1.
template <int K_, int C_, int OUT_>
struct Layer {
    static constexpr int K = K_, C = C_, OUT = OUT_;
    static constexpr int vectors = divided_up(OUT, LANES);
    // Vectors of output channels in a block, and most pixels that the registers hold beside them.
    static constexpr int M = vectors % 3 == 0 ? 3 : vectors % 2 == 0 ? 2 : 1;
    static constexpr int most_pixels = REGISTERS == 32 ? (M == 3 ? 9 : 12) : (M == 3 ? 3 : M == 2 ? 6 : 8);
    static constexpr int width = M * LANES;
    static constexpr int blocks = vectors / M;
    static constexpr int padded = blocks * width;  // output channels with those that fill up the last block
    static constexpr size_t block_floats = width * (2 + static_cast<size_t>(K * K * C));
    static constexpr size_t floats = blocks * block_floats;
    static constexpr size_t plain = OUT * static_cast<size_t>(K * K * C + 1);  // kernel and bias
};

// For each block: bias, slopes, weights by row, column, input; what fills up a block is zero.
template <class L>
const float* pack(const float* plain, bool has_slopes, float*& packed) {
    constexpr int inputs = L::K * L::K * L::C;
    const float *bias = plain + inputs * L::OUT, *slopes = bias + L::OUT;
    for (int first = 0; first < L::padded; first += L::width, packed += L::block_floats)
        for (int lane = 0; lane < L::width; lane++) {
            const int o = first + lane;
            const bool real = o < L::OUT;
            packed[lane] = real ? bias[o] : 0;
            packed[L::width + lane] = real && has_slopes ? slopes[o] : 1;
            for (int input = 0; input < inputs; input++)
                packed[(2 + input) * L::width + lane] = real ? plain[input * L::OUT + o] : 0;
        }
    return has_slopes ? slopes + L::OUT : slopes;
}

// ROWS x PIXELS pixels of one block of channels. The input's rows are IN_WIDTH pixels long; the output's
// pixels and rows lie `to_pixel` and `to_row` floats apart.
template <class L, int IN_WIDTH, int ROWS, int PIXELS>
INLINE void block(const float* from, const float* packed, float* to, int to_pixel, int to_row) {
    constexpr int M = L::M, N = ROWS * PIXELS, LINE = IN_WIDTH * L::C;
    V sums[N][M];
    UNROLL for (int n = 0; n < N; n++)
        UNROLL for (int m = 0; m < M; m++) sums[n][m] = load(packed + m * LANES);
    const float *slopes = packed + L::width, *weights = slopes + L::width;
    for (int row = 0; row < L::K; row++, from += LINE)
        for (int i = 0; i < L::K * L::C; i++, weights += L::width) {
            V weight[M];
            UNROLL for (int m = 0; m < M; m++) weight[m] = load(weights + m * LANES);
            UNROLL for (int n = 0; n < N; n++) {
                const V value = broadcast(from[n / PIXELS * LINE + n % PIXELS * L::C + i]);
                UNROLL for (int m = 0; m < M; m++) sums[n][m] += value * weight[m];
            }
        }
    UNROLL for (int n = 0; n < N; n++)
        UNROLL for (int m = 0; m < M; m++)
            store(to + n / PIXELS * to_row + n % PIXELS * to_pixel + m * LANES,
                  prelu(sums[n][m], load(slopes + m * LANES)));
}

// ROWS rows of WIDTH pixels of one block of channels, split into about equal parts that fit the registers.
template <class L, int IN_WIDTH, int ROWS, int WIDTH>
void block_rows(const float* from, const float* packed, float* to, int to_pixel, int to_row) {
    constexpr int parts = divided_up(WIDTH, L::most_pixels / ROWS);
    constexpr int less = WIDTH / parts, more = WIDTH % parts;
    if constexpr (more > 0)
        for (int part = 0; part < more; part++, from += (less + 1) * L::C, to += (less + 1) * to_pixel)
            block<L, IN_WIDTH, ROWS, less + 1>(from, packed, to, to_pixel, to_row);
    for (int part = more; part < parts; part++, from += less * L::C, to += less * to_pixel)
        block<L, IN_WIDTH, ROWS, less>(from, packed, to, to_pixel, to_row);
}

// One row of a map.
template <class L, int IN_WIDTH>
void convolve_row(const float* from, const float* packed, float* to) {
    constexpr int WIDTH = IN_WIDTH - L::K + 1;
    for (int block = 0; block < L::blocks; block++)
        block_rows<L, IN_WIDTH, 1, WIDTH>(from, packed + block * L::block_floats, to + block * L::width, L::padded, 0);
}

// A whole square map that no pool follows, whose output's pixels lie side by side.
template <class L, int IN_WIDTH>
void convolve_map(const float* from, const float* packed, float* to) {
    constexpr int WIDTH = IN_WIDTH - L::K + 1, TO_ROW = WIDTH * L::OUT;
    constexpr int fitting = L::most_pixels / WIDTH;
    constexpr int ROWS = fitting < 1 ? 1 : fitting < WIDTH ? fitting : WIDTH;
    static_assert(L::padded == L::OUT);
    for (int block = 0; block < L::blocks; block++) {
        const float* weights = packed + block * L::block_floats;
        const float* row = from;
        float* out = to + block * L::width;
        int y = 0;
        for (; y + ROWS <= WIDTH; y += ROWS, row += ROWS * IN_WIDTH * L::C, out += ROWS * TO_ROW)
            block_rows<L, IN_WIDTH, ROWS, WIDTH>(row, weights, out, L::OUT, TO_ROW);
        for (; y < WIDTH; y++, row += IN_WIDTH * L::C, out += TO_ROW)
            block_rows<L, IN_WIDTH, 1, WIDTH>(row, weights, out, L::OUT, TO_ROW);
    }
}

// COUNT crops before a dense layer.
template <class L, int COUNT>
void dense_part(const float* from, const float* packed, float* to) {
    for (int block = 0; block < L::blocks; block++)
        block_rows<L, 0, 1, COUNT>(from, packed + block * L::block_floats, to + block * L::width, L::padded, 0);
}

// A dense layer over `count` crops, up to BATCH, of which it gives L::padded values each.
template <class L>
void dense(const float* from, int count, const float* packed, float* to) {
    if (count == BATCH) return dense_part<L, BATCH>(from, packed, to);
    for (; count >= 4; count -= 4, from += 4 * L::C, to += 4 * L::padded) dense_part<L, 4>(from, packed, to);
    for (; count >= 2; count -= 2, from += 2 * L::C, to += 2 * L::padded) dense_part<L, 2>(from, packed, to);
    if (count) dense_part<L, 1>(from, packed, to);
}

// --- pools ------------------------------------------------------------------------------------------------

// Windows of W x W, two pixels apart. SAME pads at the far edge, which is cutting the last window there;
// VALID leaves it out.
template <int W, bool SAME>
constexpr int pooled_side(int side) { return SAME ? divided_up(side, 2) : (side - W) / 2 + 1; }

// One row of pooled pixels of C channels, of which PADDED lie in the input. Each pixel's last vector may
// reach into the next, which is written after it.
template <int W, bool SAME, int IN_WIDTH, int C, int PADDED>
void pool_row(const float* const rows[W], int count, float* to) {
    for (int x = 0; x < pooled_side<W, SAME>(IN_WIDTH); x++, to += C)
        for (int channel = 0; channel < C; channel += LANES) {
            V most = load(rows[0] + 2 * x * PADDED + channel);
            for (int row = 0; row < count; row++)
                for (int column = 2 * x; column < 2 * x + W && column < IN_WIDTH; column++)
                    most = larger(most, load(rows[row] + column * PADDED + channel));
            store(to + channel, most);
        }
}

// A convolution with the pool behind it: of the convolution W rows are kept.
template <class L, int IN_WIDTH, int W, bool SAME>
void convolve_and_pool(const float* from, const float* packed, float* ring, float* to) {
    constexpr int SIDE = IN_WIDTH - L::K + 1, POOLED = pooled_side<W, SAME>(SIDE);
    constexpr size_t ROW = static_cast<size_t>(SIDE) * L::padded;
    int reached = 0;
    for (int y = 0; y < POOLED; y++, to += POOLED * L::OUT) {
        const int end = 2 * y + W < SIDE ? 2 * y + W : SIDE;
        for (; reached < end; reached++)
            convolve_row<L, IN_WIDTH>(from + reached * IN_WIDTH * L::C, packed, ring + reached % W * ROW);
        const float* rows[W];
        for (int row = 0; row < W; row++) rows[row] = ring + (2 * y + row) % W * ROW;
        facet::FACET_ISA::pool_row<W, SAME, SIDE, L::OUT, L::padded>(rows, end - 2 * y, to);
    }
}

}  // namespace
}  // namespace facet::FACET_ISA
