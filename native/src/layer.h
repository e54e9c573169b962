// Plain convolutions, dense layers and pools of R-Net and O-Net. Maps are (rows, columns, channels), and output
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
    static constexpr int from_pixel = C;      // floats from one pixel of the input to the next
    static constexpr bool activated = true;   // with bias and PReLU; else the weights are all there is
    static constexpr int vectors = divided_up(OUT, LANES);
    // Vectors of output channels in a block, and most pixels that the registers hold beside them.
    static constexpr int M = vectors % 3 == 0 ? 3 : vectors % 2 == 0 ? 2 : 1;
    static constexpr int most_pixels = REGISTERS == 32 ? (M == 3 ? 9 : 12) : (M == 3 ? 3 : M == 2 ? 6 : 8);
    static constexpr int width = M * LANES;
    static constexpr int blocks = vectors / M;
    static constexpr int padded = blocks * width;  // output channels with those that fill up the last block
    static constexpr size_t block_floats = width * (2 + static_cast<size_t>(K * K * C));
    static constexpr size_t floats = blocks * block_floats;

    // The kernel of one output channel: by row, column, input.
    static void pack_kernel(const float* plain, float* packed) {
        for (int input = 0; input < K * K * C; input++) packed[input * width] = plain[input * OUT];
    }
};

// Puts bias, slopes and kernel where the blocks read them. `packed` is zero, and what fills up a block stays so.
template <class L>
const float* pack(const float* plain, bool has_slopes, float*& packed) {
    const float *bias = plain + L::K * L::K * L::C * L::OUT, *slopes = bias + L::OUT;
    for (int o = 0; o < L::OUT; o++) {
        float* to = packed + o / L::width * L::block_floats + o % L::width;
        to[0] = bias[o];
        to[L::width] = has_slopes ? slopes[o] : 1;
        L::pack_kernel(plain + o, to + 2 * L::width);
    }
    packed += L::floats;
    return has_slopes ? slopes + L::OUT : slopes;
}

// ROWS x PIXELS pixels of one block of channels. The input's rows are IN_WIDTH pixels long; the output's
// pixels and rows lie `to_pixel` and `to_row` floats apart.
template <class L, int IN_WIDTH, int ROWS, int PIXELS>
INLINE void block(const float* from, const float* packed, float* to, int to_pixel, int to_row) {
    constexpr int M = L::M, N = ROWS * PIXELS, LINE = IN_WIDTH * L::from_pixel;
    V sums[N][M];
    UNROLL for (int n = 0; n < N; n++)
        UNROLL for (int m = 0; m < M; m++) sums[n][m] = L::activated ? load(packed + m * LANES) : V{};
    const float *slopes = packed + L::width, *weights = L::activated ? slopes + L::width : packed;
    for (int row = 0; row < L::K; row++, from += LINE)
        for (int i = 0; i < L::K * L::C; i++, weights += L::width) {
            V weight[M];
            UNROLL for (int m = 0; m < M; m++) weight[m] = load(weights + m * LANES);
            UNROLL for (int n = 0; n < N; n++) {
                const V value = broadcast(from[n / PIXELS * LINE + n % PIXELS * L::from_pixel + i]);
                UNROLL for (int m = 0; m < M; m++) sums[n][m] += value * weight[m];
            }
        }
    UNROLL for (int n = 0; n < N; n++)
        UNROLL for (int m = 0; m < M; m++)
            store(to + n / PIXELS * to_row + n % PIXELS * to_pixel + m * LANES,
                  L::activated ? prelu(sums[n][m], load(slopes + m * LANES)) : sums[n][m]);
}

// ROWS rows of WIDTH pixels of one block of channels, split into about equal parts that fit the registers.
template <class L, int IN_WIDTH, int ROWS, int WIDTH>
void block_rows(const float* from, const float* packed, float* to, int to_pixel, int to_row) {
    constexpr int parts = divided_up(WIDTH, L::most_pixels / ROWS);
    constexpr int less = WIDTH / parts, more = WIDTH % parts;
    if constexpr (more > 0)
        for (int part = 0; part < more; part++, from += (less + 1) * L::from_pixel, to += (less + 1) * to_pixel)
            block<L, IN_WIDTH, ROWS, less + 1>(from, packed, to, to_pixel, to_row);
    for (int part = more; part < parts; part++, from += less * L::from_pixel, to += less * to_pixel)
        block<L, IN_WIDTH, ROWS, less>(from, packed, to, to_pixel, to_row);
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
// reach into the next, which is written after it. Where a window is cut, its last row or column counts twice.
template <int W, bool SAME, int IN_WIDTH, int C, int PADDED>
void pool_row(const float* const rows[W], float* to) {
    for (int x = 0; x < pooled_side<W, SAME>(IN_WIDTH); x++, to += C) {
        int columns[W];
        UNROLL for (int w = 0; w < W; w++) columns[w] = smaller(2 * x + w, IN_WIDTH - 1) * PADDED;
        for (int channel = 0; channel < C; channel += LANES) {
            V most = load(rows[0] + columns[0] + channel);
            UNROLL for (int row = 0; row < W; row++)
                UNROLL for (int w = 0; w < W; w++) most = larger(most, load(rows[row] + columns[w] + channel));
            store(to + channel, most);
        }
    }
}

}  // namespace
}  // namespace facet::FACET_ISA
