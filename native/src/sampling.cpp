#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace facet {

namespace {

// Where outputs begin and end, in inputs.
struct Edges {
    float step;
    float low(int output) const { return static_cast<float>(output) * step; }
    float high(int output) const { return static_cast<float>(output + 1) * step; }
};

// The share of an output that an input covers.
float weight(const Edges& edges, int output, int input, int size_in) {
    const float low = edges.low(output), high = edges.high(output);
    const float left = static_cast<float>(input);
    // The last input goes on where rounding put an edge beyond it.
    const float right = input + 1 < size_in ? left + 1 : std::numeric_limits<float>::infinity();
    const bool within = left < low && right > high;
    const float covered = std::max(0.0f, std::min(right, high) - std::max(left, low));
    return (within ? edges.step : covered) / edges.step;
}

}  // namespace

Band::Band(int size_in, int size_out, float factor) : firsts_(size_out), counts_(size_out), sums_(size_out) {
    const Edges edges{static_cast<float>(size_in) / static_cast<float>(size_out)};
    for (int k = 0; k < size_out; k++) {
        firsts_[k] = std::min(static_cast<int>(edges.low(k)), size_in - 1);
        const int end = std::min(static_cast<int>(std::ceil(edges.high(k))), size_in);
        counts_[k] = std::max(1, end - firsts_[k]);
        most_ = std::max(most_, counts_[k]);
    }
    weights_.resize(static_cast<size_t>(most_) * size_out);
    for (int k = 0; k < size_out; k++) {
        double sum = 0;
        for (int tap = 0; tap < counts_[k]; tap++) {
            const float share = weight(edges, k, firsts_[k] + tap, size_in) * factor;
            weights_[static_cast<size_t>(k) * most_ + tap] = share;
            sum += share;
        }
        sums_[k] = static_cast<float>(sum);
    }
}

void crop_samples(double start, double stop, int size, int side, Sample* samples) {
    const float last = static_cast<float>(size - 1);
    const float low = static_cast<float>(start / size), high = static_cast<float>(stop / size);
    const float step = (high - low) * last / static_cast<float>(side - 1);
    const float origin = low * last;
    for (int k = 0; k < side; k++) {
        const float position = origin + static_cast<float>(k) * step;
        if (!(position >= 0 && position <= last)) {  // which no comparison with NaN is, either
            samples[k] = {0, 0, 0, false};
            continue;
        }
        const int before = static_cast<int>(position);
        const float share = position - static_cast<float>(before);
        samples[k] = {before, before + (share > 0), share, true};
    }
}

}  // namespace facet
