// Bilinear crops, straight from the picture's bytes.
#pragma once

#include "bytes.h"
#include "kernels.h"
#include "resize.h"
#include "vectors.h"

namespace facet::FACET_ISA {
namespace {

// Behind each pixel but the picture's last lies one more byte, so that four can be read at once.
template <bool MAY_BE_LAST>
INLINE V4 pixel(const uint8_t* from) {
    return MAY_BE_LAST ? V4{float(from[0]), float(from[1]), float(from[2])} : floats4(from);
}

// One row of the picture at a crop's columns, grey outside. The fourth lane of a pixel is written over by the next one.
template <bool MAY_BE_LAST>
void sample_row(const uint8_t* from, const Sample* columns, int side, float* to) {
    for (int x = 0; x < side; x++, to += 3) {
        const V4 left = pixel<MAY_BE_LAST>(from + 3 * static_cast<size_t>(columns[x].first));
        const V4 right = pixel<MAY_BE_LAST>(from + 3 * static_cast<size_t>(columns[x].second));
        store(to, columns[x].inside ? left + (right - left) * columns[x].share : MIDDLE - V4{});
    }
}

// Rows of a crop of a small box have the picture's rows in common, so the last two of these are kept.
void crop(const Picture& picture, const Sample* columns, const Sample* rows, int side, float* out) {
    float kept[2][3 * ONET_SIDE + LANES] = {};
    int numbers[2] = {-1, -1};  // of the picture's rows that are kept, even and odd
    const auto row = [&](int number) {
        float* to = kept[number & 1];
        if (numbers[number & 1] == number) return to;
        numbers[number & 1] = number;
        const uint8_t* from = picture.pixels + number * 3 * static_cast<size_t>(picture.width);
        if (number == picture.height - 1) sample_row<true>(from, columns, side, to);
        else sample_row<false>(from, columns, side, to);
        return to;
    };
    for (int y = 0; y < side; y++, out += 3 * side) {
        if (!rows[y].inside) {
            for (int i = 0; i < 3 * side; i++) out[i] = 0;
            continue;
        }
        const float *upper = row(rows[y].first), *lower = row(rows[y].second);
        for (int i = 0; i < 3 * side; i += LANES) {
            const V top = load(upper + i), bottom = load(lower + i);
            store(out + i, (top + (bottom - top) * rows[y].share - MIDDLE) * (1.0f / 128));
        }
    }
}

}  // namespace
}  // namespace facet::FACET_ISA
