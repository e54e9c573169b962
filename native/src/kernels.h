// What an instruction set offers: one table of functions over plain memory.
//
// kernels.cpp is compiled once for each instruction set and exports nothing but its table. Nothing in these
// files may use the standard library: the linker keeps one copy of an inline function, and that could be
// the one with instructions that this CPU does not have.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facet {

// An upright picture: rows of RGB bytes without gaps.
struct Picture {
    const uint8_t* pixels;
    int width;
    int height;
};

// What one axis of an area resampling does: output k is the sum of inputs from firsts[k] on, each times its
// weight. An output has `most` weights, of which those from counts[k] on are zero; all but the first
// and the last that is not are equal.
struct Taps {
    int most;
    const int* firsts;
    const int* counts;
    const float* weights;
    const float* sums;  // of each output's weights, which do not quite add up to one
};

// One level of a picture's pyramid. The rows' weights include the factor 1 / 128 of the normalisation.
struct Level {
    Picture picture;
    int width;
    int height;
    Taps columns;
    Taps rows;
};

// Where the samples of a crop lie on one axis.
struct Sample {
    int first;    // the pixel at or before it
    int second;   // the pixel at or after it
    float share;  // of the second
    bool inside;  // outside the picture all is grey
};

// Takes cells of one row of a level, in order: their columns, and for each the five heads.
struct Sink {
    void (*take)(void* receiver, int row, int count, const int* columns, const float* heads);
    void* receiver;
};

enum Network { PNET, RNET, ONET, NETWORKS };

constexpr int PNET_HEADS = 5;   // logit, regression of x1, y1, x2, y2
constexpr int RNET_HEADS = 5;   // the same
constexpr int ONET_HEADS = 15;  // and x of five landmarks, y of five landmarks
constexpr int RNET_SIDE = 24;
constexpr int ONET_SIDE = 48;

// Crops that R-Net and O-Net take at once: their dense layers read each weight once for all of them.
constexpr int BATCH = 8;

// Floats of a network's weights in the converter's order: of each layer kernel (rows, columns, inputs,
// outputs), bias and PReLU slopes; then kernel and bias of the heads.
constexpr size_t PLAIN_FLOATS[NETWORKS] = {6599, 100049, 388783};

constexpr int MOST_CONVOLUTIONS = 4;

struct Kernels {
    // Of each convolution of a network, in order, m of Winograd's F(m x m, k x k); 1 is direct, 0 behind the last.
    int tiles[NETWORKS][MOST_CONVOLUTIONS];

    // Floats that a network's weights take in the order in which its kernels read them.
    size_t packed_floats[NETWORKS];
    void (*pack)(Network network, const float* plain, float* packed);

    // The level's pixels, (height, width, 3), normalised to [-1, 1].
    void (*resize)(const Level& level, float* workspace, float* out);

    // P-Net over a level: gives the sink all cells whose logit exceeds `least`.
    void (*propose)(const Level& level, const float* packed, float least, float* workspace, Sink sink);
    size_t (*level_floats)(int picture_width, int level_width);  // the workspace of the two above, all zeros

    // One crop, (side, side, 3), normalised to [-1, 1].
    void (*crop)(const Picture& picture, const Sample* columns, const Sample* rows, int side, float* out);

    // R-Net and O-Net over up to BATCH crops: (count, heads).
    void (*refine)(const float* crops, int count, const float* packed, float* workspace, float* heads);
    void (*output)(const float* crops, int count, const float* packed, float* workspace, float* heads);
    size_t refine_floats;
    size_t output_floats;
    size_t crop_slack;  // floats behind a crop that may be overwritten
};

namespace avx512 { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
namespace base { extern const Kernels kernels; }

}  // namespace facet
