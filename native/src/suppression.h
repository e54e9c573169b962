// Non-maximum suppression by the reference's rule, in the float64 arithmetic of NumPy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facet {

// Marks those of boxes `begin` to `end` that any box before them overlaps by more than `threshold`, even one that
// is marked itself. Boxes are (N, 4): x1, y1, x2, y2, best first. The overlap is a share of both boxes' union,
// or of the smaller one's area.
void mark_overlapped(const double* boxes, size_t begin, size_t end, double threshold, bool of_smaller, uint8_t* marks);

}  // namespace facet
