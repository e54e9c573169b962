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

template <bool MAY_BE_LAST>
void crop_row(const uint8_t* upper, const uint8_t* lower, float share, const Sample* columns, int side, float* out) {
    for (int x = 0; x < side; x++, out += 3) {
        const size_t left = 3 * static_cast<size_t>(columns[x].first), right = 3 * static_cast<size_t>(columns[x].second);
        const float share_x = columns[x].share;
        V4 top = pixel<MAY_BE_LAST>(upper + left), bottom = pixel<MAY_BE_LAST>(lower + left);
        top += (pixel<MAY_BE_LAST>(upper + right) - top) * share_x;
        bottom += (pixel<MAY_BE_LAST>(lower + right) - bottom) * share_x;
        const V4 value = (top + (bottom - top) * share - MIDDLE) * (1.0f / 128);
        store(out, columns[x].inside ? value : V4{});
    }
}

// The fourth lane of a pixel is written over by the next one.
void crop(const Picture& picture, const Sample* columns, const Sample* rows, int side, float* out) {
    const size_t stride = 3 * static_cast<size_t>(picture.width);
    for (int y = 0; y < side; y++, out += 3 * side) {
        if (!rows[y].inside) {
            for (int i = 0; i < 3 * side; i++) out[i] = 0;
            continue;
        }
        const uint8_t *upper = picture.pixels + rows[y].first * stride, *lower = picture.pixels + rows[y].second * stride;
        if (rows[y].second == picture.height - 1)
            crop_row<true>(upper, lower, rows[y].share, columns, side, out);
        else
            crop_row<false>(upper, lower, rows[y].share, columns, side, out);
    }
}

}  // namespace
}  // namespace facet::FACET_ISA
