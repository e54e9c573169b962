// Compiled without contraction, as sampling.cpp is: an overlap next to the threshold must fall on NumPy's side.
#include "suppression.h"

#include <algorithm>
#include <limits>

namespace facet {

namespace {

constexpr double SLACK = 1e-6;  // pixels, for rounding

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
    if (!(width > 0 && height > 0)) return false;
    const double shared = width * height, area = one.area();
    if (area != area || area_of_other != area_of_other) return false;  // as in NumPy, where no such comparison is true
    const double whole = of_smaller ? std::min(area, area_of_other) : area + area_of_other - shared;
    return shared / whole > threshold;
}

}  // namespace

void mark_overlapped(const double* boxes, const int64_t* ranks, size_t count, size_t begin, size_t end,
                     double threshold, bool of_smaller, uint8_t* marks) {
    // Where the shared part is over t of the union, it is wider than t of either box. So the one on the right begins
    // within 1 - t of the other's width, and that is less than 1 / t of its own. Of the smaller box's area
    // follows only that they meet.
    const double after = of_smaller ? 1 : 1 - threshold;
    const double before = of_smaller ? std::numeric_limits<double>::infinity() : after / threshold;
    for (size_t index = begin; index < end; index++) {
        const Box box = box_at(boxes, index);
        const double area = box.area(), width = box.right - box.left;
        const double least = box.left - before * width - SLACK, most = box.left + after * width + SLACK;
        const auto goes_for = [&](size_t other) {
            return overlaps(box_at(boxes, other), box, area, threshold, of_smaller) && ranks[other] < ranks[index];
        };
        bool goes = false;
        // Neighbours first. What is not a number ends neither loop.
        for (size_t other = index; !goes && other-- > 0 && !(boxes[4 * other] < least);) goes = goes_for(other);
        for (size_t other = index + 1; !goes && other < count && !(boxes[4 * other] > most); other++)
            goes = goes_for(other);
        marks[index] = goes;
    }
}

}  // namespace facet
