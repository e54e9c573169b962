#include "convolutions.h"

// Of the networks only the layers' types are used here.
#pragma GCC diagnostic ignored "-Wunused-function"
#include "refine.h"

namespace facet::FACET_ISA {
namespace {

template <class L, int IN_WIDTH>
void run_plain(const float* from, const float* packed, float*, float* to) {
    constexpr int WIDTH = IN_WIDTH - 2;
    for (int y = 0; y < WIDTH; y++, from += IN_WIDTH * L::C, to += WIDTH * L::padded)
        for (int block = 0; block < L::blocks; block++)
            block_rows<L, IN_WIDTH, 1, WIDTH>(from, packed + block * L::block_floats, to + block * L::width, L::padded, 0);
}

template <class L, int IN_WIDTH>
void run_tiled(const float* from, const float* packed, float* workspace, float* to) {
    constexpr int WIDTH = IN_WIDTH - 2, TILES = divided_up(WIDTH, L::TILE), REST = TILES % L::ROWS;
    for (int first = 0; first + L::ROWS <= TILES; first += L::ROWS)
        convolve_strip<L, IN_WIDTH, L::ROWS, WIDTH>(first, from, packed, workspace, to);
    if constexpr (REST > 0) convolve_strip<L, IN_WIDTH, REST, WIDTH>(TILES - REST, from, packed, workspace, to);
}

template <class L>
void pack_one(const float* plain, float* packed) {
    pack<L>(plain, true, packed);
}

template <class Used, int SIDE>
constexpr Convolution plain(const char* layer) {
    using L = typename Used::Plain;
    return {layer, 0, false, SIDE, L::C, L::OUT, L::padded, L::floats, 0, pack_one<L>, run_plain<L, SIDE>};
}

template <class Used, int SIDE, int TILE>
constexpr Convolution tiled(const char* layer) {
    using L = Tiled<TILE, Used::ROWS, Used::C, Used::OUT>;
    return {layer, TILE, TILE == Used::TILE, SIDE, L::C, L::OUT, L::padded, L::floats,
            L::workspace(divided_up(SIDE - 2, TILE)), pack_one<L>, run_tiled<L, SIDE>};
}

#define EACH(layer, side, name) plain<layer, side>(name), tiled<layer, side, 3>(name), tiled<layer, side, 4>(name)

constexpr Convolution ALL[] = {
    EACH(Refinement::First, 24, "R-Net 1"), EACH(Refinement::Second, 11, "R-Net 2"),
    EACH(Output::First, 48, "O-Net 1"), EACH(Output::Second, 23, "O-Net 2"), EACH(Output::Third, 10, "O-Net 3"),
};

}  // namespace

const Convolutions convolutions = {ALL, sizeof(ALL) / sizeof(*ALL)};

}  // namespace facet::FACET_ISA
