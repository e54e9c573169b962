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

// A layer is computed directly, unless its type has a TILE.
template <class Layer>
constexpr Tile tile_of(decltype(&Layer::TILE)) { return {Layer::TILE, Layer::TILE}; }
template <class Layer>
constexpr Tile tile_of(...) { return {1, 1}; }

}  // namespace

const Kernels kernels = {
    {{{1, 1}, {1, 1}, {1, 1}},
     {tile_of<Refinement::First>(nullptr), tile_of<Refinement::Second>(nullptr), tile_of<Refinement::Third>(nullptr)},
     {tile_of<Output::First>(nullptr), tile_of<Output::Second>(nullptr), tile_of<Output::Third>(nullptr),
      tile_of<Output::Fourth>(nullptr)}},
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
