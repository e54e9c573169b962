// The engine: weights packed for one instruction set, and what its kernels see in a picture.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"

namespace facet {

// The names of the instruction sets that this build has and this CPU can run, best first.
std::vector<std::string> instruction_sets();

// The cells of a level that passed, in the order of rows, then columns.
struct Proposals {
    std::vector<int64_t> cells;  // row and column of each
    std::vector<float> heads;    // PNET_HEADS of each
};

// Memory for vectors, aligned to a cache line and zero.
class Floats {
public:
    explicit Floats(size_t count);
    float* data() const { return memory_.get(); }

private:
    struct Free {
        void operator()(float* memory) const { std::free(memory); }
    };
    std::unique_ptr<float, Free> memory_;
};

// Immutable once built: any number of threads may use one.
class Engine {
public:
    // `weights` are those of the three networks, PLAIN_FLOATS each.
    // Throws std::invalid_argument where the instruction set is not one of instruction_sets().
    Engine(const std::string& instruction_set, const float* const weights[NETWORKS]);
    Engine(const Engine&) = delete;

    Proposals propose(const Picture& picture, int level_width, int level_height, float least) const;

    // `boxes` are x1, y1, x2, y2 of each; gives the heads of each.
    void refine(const Picture& picture, const double* boxes, size_t count, float* heads) const;
    void output(const Picture& picture, const double* boxes, size_t count, float* heads) const;

    std::vector<std::vector<int>> tiles() const;  // by network, as in Kernels

    // Steps of the above, for tests.
    void resize(const Picture& picture, int level_width, int level_height, float* out) const;
    void crop(const Picture& picture, const double* boxes, size_t count, int side, float* out) const;

private:
    void crop_one(const Picture& picture, const double* box, int side, float* out) const;
    void see(Network network, const Picture& picture, const double* boxes, size_t count, float* heads) const;

    const Kernels& kernels_;
    std::vector<Floats> weights_;
};

}  // namespace facet
