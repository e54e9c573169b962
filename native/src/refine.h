// R-Net and O-Net over a few crops.
#pragma once

#include "kernels.h"
#include "layer.h"
#include "tiles.h"

namespace facet::FACET_ISA {
namespace {

// Each 3 x 3 convolution by the tiles that measured best on all instruction sets (docs/native.md): F(4 x 4, 3 x 3),
// or F(3 x 3, 3 x 3) where three rows and columns divide the map. Rows of tiles fill the registers.
constexpr int O2_ROWS = REGISTERS == 32 ? 1 : 4;

struct Refinement {  // R-Net: 24 - 22 (pool) 11 - 9 (pool) 4 - 3
    using First = Tiled<4, 1, 3, 28>;
    using Second = Tiled<3, 3, 28, 48>;
    using Third = Layer<2, 48, 64>;
    using Dense = Layer<1, 3 * 3 * 64, 128>;
    using Heads = Layer<1, 128, RNET_HEADS>;
    using FirstPooled = Pooled<First, 24, 3, true>;
    using SecondPooled = Pooled<Second, 11, 3, false>;
    static constexpr size_t second = First::floats, third = second + Second::floats,
                            dense = third + Third::floats, heads = dense + Dense::floats,
                            floats = heads + Heads::floats;
    // Workspace: that of the convolutions, two maps, the features of all crops, and what the dense layers give.
    static constexpr size_t one = 11 * 11 * 28 + LANES, other = 4 * 4 * 48 + LANES,
                            features = static_cast<size_t>(BATCH) * Dense::C,
                            dense_out = static_cast<size_t>(BATCH) * Dense::padded,
                            heads_out = static_cast<size_t>(BATCH) * Heads::padded,
                            convolutions = largest(FirstPooled::workspace, SecondPooled::workspace),
                            workspace = convolutions + one + other + features + dense_out + heads_out;
};

struct Output {  // O-Net: 48 - 46 (pool) 23 - 21 (pool) 10 - 8 (pool) 4 - 3
    using First = Tiled<4, 1, 3, 32>;
    using Second = Tiled<3, O2_ROWS, 32, 64>;
    using Third = Tiled<4, 2, 64, 64>;
    using Fourth = Layer<2, 64, 128>;
    using Dense = Layer<1, 3 * 3 * 128, 256>;
    using Heads = Layer<1, 256, ONET_HEADS>;
    using FirstPooled = Pooled<First, 48, 3, true>;
    using SecondPooled = Pooled<Second, 23, 3, false>;
    using ThirdPooled = Pooled<Third, 10, 2, true>;
    static constexpr size_t second = First::floats, third = second + Second::floats,
                            fourth = third + Third::floats, dense = fourth + Fourth::floats,
                            heads = dense + Dense::floats, floats = heads + Heads::floats;
    static constexpr size_t one = 23 * 23 * 32 + LANES, other = 10 * 10 * 64 + LANES,
                            features = static_cast<size_t>(BATCH) * Dense::C,
                            dense_out = static_cast<size_t>(BATCH) * Dense::padded,
                            heads_out = static_cast<size_t>(BATCH) * Heads::padded,
                            convolutions = largest(largest(FirstPooled::workspace, SecondPooled::workspace),
                                                  ThirdPooled::workspace),
                            workspace = convolutions + one + other + features + dense_out + heads_out;
};

void pack_rnet(const float* plain, float* packed) {
    plain = pack<Refinement::First>(plain, true, packed);
    plain = pack<Refinement::Second>(plain, true, packed);
    plain = pack<Refinement::Third>(plain, true, packed);
    plain = pack<Refinement::Dense>(plain, true, packed);
    pack<Refinement::Heads>(plain, false, packed);
}

void pack_onet(const float* plain, float* packed) {
    plain = pack<Output::First>(plain, true, packed);
    plain = pack<Output::Second>(plain, true, packed);
    plain = pack<Output::Third>(plain, true, packed);
    plain = pack<Output::Fourth>(plain, true, packed);
    plain = pack<Output::Dense>(plain, true, packed);
    pack<Output::Heads>(plain, false, packed);
}

// The dense layers over the features of `count` crops, and the heads without what fills up their vectors.
template <class Net>
void conclude(const float* features, int count, const float* packed, float* workspace, float* heads) {
    float* padded = workspace + Net::dense_out;
    dense<typename Net::Dense>(features, count, packed + Net::dense, workspace);
    dense<typename Net::Heads>(workspace, count, packed + Net::heads, padded);
    for (int crop = 0; crop < count; crop++, padded += Net::Heads::padded)
        for (int head = 0; head < Net::Heads::OUT; head++) *heads++ = padded[head];
}

void refine(const float* crops, int count, const float* packed, float* workspace, float* heads) {
    using Net = Refinement;
    float *one = workspace + Net::convolutions, *other = one + Net::one, *features = other + Net::other;
    for (int crop = 0; crop < count; crop++, crops += RNET_SIDE * RNET_SIDE * 3) {
        Net::FirstPooled::run(crops, packed, workspace, one);
        Net::SecondPooled::run(one, packed + Net::second, workspace, other);
        convolve_map<Net::Third, 4>(other, packed + Net::third, features + crop * Net::Dense::C);
    }
    conclude<Net>(features, count, packed, features + Net::features, heads);
}

void output(const float* crops, int count, const float* packed, float* workspace, float* heads) {
    using Net = Output;
    float *one = workspace + Net::convolutions, *other = one + Net::one, *features = other + Net::other;
    for (int crop = 0; crop < count; crop++, crops += ONET_SIDE * ONET_SIDE * 3) {
        Net::FirstPooled::run(crops, packed, workspace, one);
        Net::SecondPooled::run(one, packed + Net::second, workspace, other);
        Net::ThirdPooled::run(other, packed + Net::third, workspace, one);
        convolve_map<Net::Fourth, 4>(one, packed + Net::fourth, features + crop * Net::Dense::C);
    }
    conclude<Net>(features, count, packed, features + Net::features, heads);
}

}  // namespace
}  // namespace facet::FACET_ISA
