// Times of each 3 x 3 convolution by each algorithm, on every instruction set that this CPU runs: microseconds of
// the plain sum for one crop, and how many times as fast the others are. All take turns, and the best time counts.
#include <chrono>
#include <cstdio>
#include <string>

#include "convolutions.h"
#include "engine.h"

namespace {

using facet::Convolution;
using facet::Floats;

constexpr int TURNS = 300, ALGORITHMS = 3;

struct Run {
    const Convolution& what;
    Floats from, packed, workspace, to;
    double best = 1e9;

    explicit Run(const Convolution& of)
        : what(of), from(size_t(of.side) * of.side * of.inputs), packed(of.packed_floats), workspace(of.workspace_floats),
          to(size_t(of.side - 2) * (of.side - 2) * of.padded) {}

    void take_turn() {
        const auto start = std::chrono::steady_clock::now();
        what.run(from.data(), packed.data(), workspace.data(), to.data());
        const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
        best = std::min(best, took.count());
    }
};

}  // namespace

int main() {
    std::printf("| layer | instruction set | plain sum, us | F(3 x 3, 3 x 3) | F(4 x 4, 3 x 3) | used |\n|---|---|---|---|---|---|\n");
    for (const std::string& set : facet::instruction_sets()) {
        const facet::Convolutions& all = facet::convolutions_of(set.c_str());
        for (int layer = 0; layer < all.count; layer += ALGORITHMS) {
            const Convolution* each = all.first + layer;
            Run runs[ALGORITHMS] = {Run(each[0]), Run(each[1]), Run(each[2])};
            for (int turn = 0; turn < TURNS; turn++)
                for (Run& run : runs) run.take_turn();
            std::printf("| %s | %s | %.1f | %.2fx | %.2fx | ", each->layer, set.c_str(), runs[0].best,
                        runs[0].best / runs[1].best, runs[0].best / runs[2].best);
            for (const Run& run : runs)
                if (run.what.used) std::printf("F(%d x %d, 3 x 3) |\n", run.what.tile, run.what.tile);
        }
    }
}
