#include "engine.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "sampling.h"

namespace facet {
namespace {

constexpr size_t CACHE_LINE = 64;

// The pyramid's weights carry the normalisation's division by 128.
constexpr float NORMAL = 1.0f / 128;

struct InstructionSet {
    const char* name;
    const Kernels& kernels;
    bool runs;
};

std::vector<InstructionSet> all_instruction_sets() {
    return {
#if defined(__x86_64__)
        {"avx512", avx512::kernels,
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
             && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")},
        {"avx2", avx2::kernels, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
        {"base", base::kernels, true},
    };
}

const Kernels& find(const std::string& name) {
    for (const InstructionSet& set : all_instruction_sets())
        if (set.runs && set.name == name) return set.kernels;
    std::string names;
    for (const std::string& other : instruction_sets()) names += (names.empty() ? "" : ", ") + other;
    throw std::invalid_argument("this CPU cannot run the instruction set '" + name + "'; it can: " + names);
}

}  // namespace

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const InstructionSet& set : all_instruction_sets())
        if (set.runs) names.push_back(set.name);
    return names;
}

Floats::Floats(size_t count) {
    const size_t lines = (count * sizeof(float) + CACHE_LINE - 1) / CACHE_LINE + 1;
    memory_.reset(static_cast<float*>(std::aligned_alloc(CACHE_LINE, lines * CACHE_LINE)));
    if (!memory_) throw std::bad_alloc();
    std::memset(memory_.get(), 0, lines * CACHE_LINE);
}

Engine::Engine(const std::string& instruction_set, const float* const weights[NETWORKS])
    : kernels_(find(instruction_set)) {
    for (Network network : {PNET, RNET, ONET}) {
        weights_.emplace_back(kernels_.packed_floats[network]);
        kernels_.pack(network, weights[network], weights_.back().data());
    }
}

Proposals Engine::propose(const Picture& picture, int level_width, int level_height, float least) const {
    const Band columns(picture.width, level_width, 1), rows(picture.height, level_height, NORMAL);
    const Floats workspace(kernels_.level_floats(picture.width, level_width));
    Proposals found;
    const auto take = [](void* receiver, int row, int count, const int* columns, const float* heads) {
        Proposals& found = *static_cast<Proposals*>(receiver);
        for (int cell = 0; cell < count; cell++) found.cells.insert(found.cells.end(), {row, columns[cell]});
        found.heads.insert(found.heads.end(), heads, heads + count * PNET_HEADS);
    };
    kernels_.propose({picture, level_width, level_height, columns.taps(), rows.taps()}, weights_[PNET].data(), least,
                     workspace.data(), {take, &found});
    return found;
}

void Engine::refine(const Picture& picture, const double* boxes, size_t count, float* heads) const {
    see(RNET, picture, boxes, count, heads);
}

void Engine::output(const Picture& picture, const double* boxes, size_t count, float* heads) const {
    see(ONET, picture, boxes, count, heads);
}

std::vector<std::vector<int>> Engine::tiles() const {
    std::vector<std::vector<int>> tiles;
    for (const auto& all : kernels_.tiles) tiles.emplace_back(all, std::find(all, all + MOST_CONVOLUTIONS, 0));
    return tiles;
}

void Engine::resize(const Picture& picture, int level_width, int level_height, float* out) const {
    const Band columns(picture.width, level_width, 1), rows(picture.height, level_height, NORMAL);
    const Floats workspace(kernels_.level_floats(picture.width, level_width));
    kernels_.resize({picture, level_width, level_height, columns.taps(), rows.taps()}, workspace.data(), out);
}

void Engine::crop(const Picture& picture, const double* boxes, size_t count, int side, float* out) const {
    const size_t floats = static_cast<size_t>(side) * side * 3;
    const Floats one(floats + kernels_.crop_slack);
    for (size_t box = 0; box < count; box++) {
        crop_one(picture, boxes + 4 * box, side, one.data());
        std::copy_n(one.data(), floats, out + box * floats);
    }
}

void Engine::crop_one(const Picture& picture, const double* box, int side, float* out) const {
    Sample columns[ONET_SIDE], rows[ONET_SIDE];
    crop_samples(box[0], box[2], picture.width, side, columns);
    crop_samples(box[1], box[3], picture.height, side, rows);
    kernels_.crop(picture, columns, rows, side, out);
}

void Engine::see(Network network, const Picture& picture, const double* boxes, size_t count, float* heads) const {
    const bool refines = network == RNET;
    const int side = refines ? RNET_SIDE : ONET_SIDE, heads_each = refines ? RNET_HEADS : ONET_HEADS;
    const size_t floats = static_cast<size_t>(side) * side * 3;
    const Floats crops(BATCH * floats + kernels_.crop_slack);
    const Floats workspace(refines ? kernels_.refine_floats : kernels_.output_floats);
    for (size_t start = 0; start < count; start += BATCH) {
        const int batch = static_cast<int>(std::min<size_t>(BATCH, count - start));
        for (int crop = 0; crop < batch; crop++)
            crop_one(picture, boxes + 4 * (start + crop), side, crops.data() + crop * floats);
        (refines ? kernels_.refine : kernels_.output)(crops.data(), batch, weights_[network].data(), workspace.data(),
                                                      heads + start * heads_each);
    }
}

}  // namespace facet
