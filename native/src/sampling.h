// Where samples lie, in the reference's own float32 arithmetic.
//
// Positions decide which pixels are read, so they must be those of the reference to the last bit: this file
// is compiled without contraction of a multiplication and an addition into one rounding.
#pragma once

#include <vector>

#include "kernels.h"

namespace facet {

// The taps of one axis of an area resampling, as TensorFlow's ResizeArea computes them (resize_area_op.cc).
class Band {
public:
    // Weights are multiplied by `factor`, a power of two.
    Band(int size_in, int size_out, float factor);
    Taps taps() const { return {most_, firsts_.data(), counts_.data(), weights_.data(), sums_.data()}; }

private:
    int most_ = 0;
    std::vector<int> firsts_, counts_;
    std::vector<float> weights_, sums_;
};

// The samples of one axis of a crop, as TensorFlow's CropAndResize and the package compute them: corners
// aligned, the box divided by the picture's size but multiplied by its size less one.
void crop_samples(double start, double stop, int size, int side, Sample* samples);

}  // namespace facet
