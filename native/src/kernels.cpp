// Compiled once for each instruction set; FACET_ISA names the namespace of the one at hand.
#include "kernels.h"

#include "crop.h"
#include "pnet.h"
#include "refine.h"
#include "resize.h"

namespace facet::FACET_ISA {
namespace {

void pack_network(Network network, const float* plain, float* packed) {
    if (network == PNET) return pack_pnet(plain, packed);
    if (network == RNET) return pack_rnet(plain, packed);
    pack_onet(plain, packed);
}

// The tile of a convolution that has so many weights for each output channel, bias and slope included.
constexpr int tile_of(size_t weights, size_t inputs, size_t kernel = 3) {
    size_t side = kernel;
    while (side * side * inputs + 2 < weights) side++;
    return static_cast<int>(side - kernel + 1);
}
template <class L>
constexpr int tile_of() { return tile_of(L::block_floats / L::width, L::C, L::K); }

}  // namespace

const Kernels kernels = {
    {{tile_of((Proposal::second - Proposal::first) / C1, 3), tile_of((Proposal::third - Proposal::second) / C2, C1),
      tile_of((Proposal::heads - Proposal::third) / C3, C2)},
     {tile_of<Refinement::First>(), tile_of<Refinement::Second>(), tile_of<Refinement::Third>()},
     {tile_of<Output::First>(), tile_of<Output::Second>(), tile_of<Output::Third>(), tile_of<Output::Fourth>()}},
    {Proposal::floats, Refinement::floats, Output::floats},
    pack_network,
    resize,
    propose,
    level_floats,
    crop,
    refine,
    output,
    Refinement::workspace,
    Output::workspace,
    LANES,
};

}  // namespace facet::FACET_ISA
