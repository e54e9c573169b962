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

}  // namespace

const Kernels kernels = {
    {{1, 1, 1}, {1, 1, 1}, {1, 1, 1, 1}},
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
