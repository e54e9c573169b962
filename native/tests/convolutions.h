// The 3 x 3 convolutions of R-Net and O-Net by every algorithm, whether it is used or not.
#pragma once

#include <cstddef>

namespace facet {

struct Convolution {
    const char* layer;
    int tile;  // of Winograd's F(tile x tile, 3 x 3), or 0: the plain sum
    bool used;
    int side, inputs, outputs;  // of a map (side, side, inputs)
    int padded;                 // floats from pixel to pixel of the map that comes out
    size_t packed_floats, workspace_floats;
    void (*pack)(const float* plain, float* packed);
    void (*run)(const float* from, const float* packed, float* workspace, float* to);
};

struct Convolutions {
    const Convolution* first;
    int count;
};

// Compiled once for each instruction set, as the kernels are.
namespace avx512 { extern const Convolutions convolutions; }
namespace avx2 { extern const Convolutions convolutions; }
namespace base { extern const Convolutions convolutions; }

// That of the instruction set of this name.
inline const Convolutions& convolutions_of([[maybe_unused]] const char* set) {
#if defined(__x86_64__)
    if (!__builtin_strcmp(set, "avx512")) return avx512::convolutions;
    if (!__builtin_strcmp(set, "avx2")) return avx2::convolutions;
#endif
    return base::convolutions;
}

}  // namespace facet
