// Area resampling: rows of a pyramid level, straight from the picture's bytes.
//
// It is separable. First the picture's rows under a row of the level are summed, in the picture's own columns;
// of these rows only the first and the last count in part. Then each pixel sums its columns.
#pragma once

#include "bytes.h"
#include "kernels.h"
#include "vectors.h"

namespace facet::FACET_ISA {
namespace {

constexpr float MIDDLE = 127.5f;

// The picture's rows under one row of the level.
struct Rows {
    const uint8_t* from;
    size_t stride;
    int count;
    float first, inner, last;  // weights
    float start;               // less the middle of the range, times the sum of the weights
};

INLINE Rows rows_under(const Level& level, int y) {
    const Taps& taps = level.rows;
    const size_t stride = 3 * static_cast<size_t>(level.picture.width);
    const float* weights = taps.weights + static_cast<size_t>(y) * taps.most;
    const int count = taps.counts[y];
    return {level.picture.pixels + taps.firsts[y] * stride, stride, count, weights[0],
            count > 2 ? weights[1] : 0, count > 1 ? weights[count - 1] : 0, -MIDDLE * taps.sums[y]};
}

// N vectors of words, so 2 N of floats, from column x on. Whole rows are summed as integers, exactly.
template <int N>
INLINE void sum_columns(const Rows& rows, size_t x, float* to) {
    V sums[2 * N];
    const uint8_t* from = rows.from + x;
    UNROLL for (int n = 0; n < 2 * N; n++)
        sums[n] = broadcast(rows.start) + broadcast(rows.first) * floats(from + n * LANES);
    for (int row = 1; row < rows.count - 1;) {
        const int end = row + MOST_SUMMED < rows.count - 1 ? row + MOST_SUMMED : rows.count - 1;
        Words inner[N] = {};
        for (; row < end; row++) {
            from += rows.stride;
            UNROLL for (int n = 0; n < N; n++) inner[n] += words(from + n * WORDS);
        }
        UNROLL for (int n = 0; n < N; n++) {
            sums[2 * n] += broadcast(rows.inner) * low(inner[n]);
            sums[2 * n + 1] += broadcast(rows.inner) * high(inner[n]);
        }
    }
    if (rows.count > 1) {
        from += rows.stride;
        UNROLL for (int n = 0; n < 2 * N; n++) sums[n] += broadcast(rows.last) * floats(from + n * LANES);
    }
    UNROLL for (int n = 0; n < 2 * N; n++) store(to + x + n * LANES, sums[n]);
}

INLINE void sum_column(const Rows& rows, size_t x, float* to) {
    const uint8_t* from = rows.from + x;
    float sum = rows.start + rows.first * from[0];
    for (int row = 1; row < rows.count; row++)
        sum += (row == rows.count - 1 ? rows.last : rows.inner) * from[row * rows.stride];
    to[x] = sum;
}

// One row of the level in the picture's own columns, colours interleaved, normalised.
void sum_rows(const Level& level, int y, float* to) {
    const Rows rows = rows_under(level, y);
    size_t x = 0;
    for (; x + 4 * WORDS <= rows.stride; x += 4 * WORDS) sum_columns<4>(rows, x, to);
    for (; x + WORDS <= rows.stride; x += WORDS) sum_columns<1>(rows, x, to);
    for (; x < rows.stride; x++) sum_column(rows, x, to);
}

// A row of the level comes in as many planes of each colour: column x is value x / 8 of plane x % 8.
constexpr int LEVEL_PLANES = 8;

// N pixels of the level, LEVEL_PLANES columns apart, from a row in the picture's columns; their fourth lane is no
// colour. All have as many taps, those in excess with weight zero: loops of changing length would be mispredicted.
template <int TAPS, int N>
INLINE void sum_pixels(const Taps& columns, int x, const float* row, V4 (&sums)[N]) {
    const int taps = TAPS ? TAPS : columns.most;
    const float *weights[N], *from[N];
    UNROLL for (int n = 0; n < N; n++, x += LEVEL_PLANES) {
        weights[n] = columns.weights + static_cast<size_t>(x) * taps;
        from[n] = row + 3 * static_cast<size_t>(columns.firsts[x]);
        sums[n] = weights[n][0] * load<V4>(from[n]);
    }
    UNROLL for (int tap = 1; tap < taps; tap++)
        UNROLL for (int n = 0; n < N; n++) sums[n] += weights[n][tap] * load<V4>(from[n] + 3 * tap);
}

// Pixels x, x + 8, x + 16 and x + 24, by colour.
template <int TAPS>
INLINE void sum_four(const Taps& columns, int x, const float* row, size_t colours, float* to) {
    V4 pixels[4];
    sum_pixels<TAPS>(columns, x, row, pixels);
    const V4 a = pixels[0], b = pixels[1], c = pixels[2], d = pixels[3];
    const V4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const V4 ab_blue = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd_blue = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store(to, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
    store(to + colours, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
    store(to + 2 * colours, __builtin_shufflevector(ab_blue, cd_blue, 0, 1, 4, 5));
}

// A row of the level in planes: those of red, then of green, then of blue.
template <int TAPS>
void split_row(const Taps& columns, int width, const float* row, size_t plane, float* to) {
    constexpr int P = LEVEL_PLANES;
    int x = 0;
    for (; x + 4 * P <= width; x += 4 * P)
        for (int phase = 0; phase < P; phase++)
            sum_four<TAPS>(columns, x + phase, row, P * plane, to + phase * plane + x / P);
    for (; x < width; x++) {
        V4 pixel[1];
        sum_pixels<TAPS>(columns, x, row, pixel);
        float* at = to + x % P * plane + x / P;
        for (int colour = 0; colour < 3; colour++) at[P * colour * plane] = pixel[0][colour];
    }
}

void level_row(const Level& level, int y, float* summed, size_t plane, float* to) {
    sum_rows(level, y, summed);
    if (level.columns.most == 3) return split_row<3>(level.columns, level.width, summed, plane, to);
    if (level.columns.most == 4) return split_row<4>(level.columns, level.width, summed, plane, to);
    if (level.columns.most == 5) return split_row<5>(level.columns, level.width, summed, plane, to);
    split_row<0>(level.columns, level.width, summed, plane, to);
}

// Floats of a row in the picture's columns, with what reading its last pixel as four floats touches.
INLINE size_t summed_floats(int picture_width) { return 3 * static_cast<size_t>(picture_width) + 16; }

}  // namespace
}  // namespace facet::FACET_ISA
