// Compiled without contraction, as sampling.cpp is: an overlap next to the threshold must fall on NumPy's side.
#include "suppression.h"

#include <algorithm>

namespace facet {

namespace {

struct Box {
    double left, top, right, bottom;
    double area() const { return (right - left) * (bottom - top); }
};

Box box_at(const double* boxes, size_t index) {
    const double* box = boxes + 4 * index;
    return {box[0], box[1], box[2], box[3]};
}

bool overlaps(const Box& one, const Box& other, double area_of_other, double threshold, bool of_smaller) {
    const double width = std::min(one.right, other.right) - std::max(one.left, other.left);
    const double height = std::min(one.bottom, other.bottom) - std::max(one.top, other.top);
    const double shared = width * height, area = one.area();
    // No comparison with what is not a number is true, in NumPy.
    if (!(width > 0 && height > 0 && area == area && area_of_other == area_of_other)) return false;
    const double whole = of_smaller ? std::min(area, area_of_other) : area + area_of_other - shared;
    return shared / whole > threshold;
}

}  // namespace

void mark_overlapped(const double* boxes, size_t begin, size_t end, double threshold, bool of_smaller, uint8_t* marks) {
    for (size_t index = begin; index < end; index++) {
        const Box box = box_at(boxes, index);
        const double area = box.area();
        size_t better = 0;
        while (better < index && !overlaps(box_at(boxes, better), box, area, threshold, of_smaller)) better++;
        marks[index] = better < index;
    }
}

}  // namespace facet
