// Non-maximum suppression by the reference's rule, in the float64 arithmetic of NumPy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facet {

// Marks those of boxes `begin` to `end` that any box of lower rank overlaps by more than `threshold`, even one that
// is marked itself. Boxes are (N, 4): x1, y1, x2, y2, by ascending x1. The overlap is a share of both boxes' union,
// or of the smaller one's area.
void mark_overlapped(const double* boxes, const int64_t* ranks, size_t count, size_t begin, size_t end,
                     double threshold, bool of_smaller, uint8_t* marks);

}  // namespace facet
