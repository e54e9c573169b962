// The kernels of every instruction set that this CPU can run against plain loops, without Python: for emulated
// processors, where NumPy is not. Ends with 0 where all agree.
#include <array>
#include <cstdio>
#include <string>

#include "convolutions.h"
#include "engine.h"
#include "reference.h"
#include "suppression.h"
#include "winograd_bound.h"

namespace {

using facet::Engine;
using facet::Picture;

std::mt19937 generator(7);
int failures = 0;

std::vector<uint8_t> noise(size_t pixels) {
    std::vector<uint8_t> bytes(3 * pixels);
    for (uint8_t& value : bytes) value = static_cast<uint8_t>(generator());
    return bytes;
}

void compare(const std::string& what, const float* found, const Map& right, double within) {
    double worst = 0;
    for (size_t i = 0; i < right.values.size(); i++) worst = std::max(worst, std::abs(found[i] - right.values[i]));
    const bool good = worst <= within;
    failures += !good;
    std::printf("%-14s %4d x %-4d differs by %.1e%s\n", what.c_str(), right.columns, right.rows, worst, good ? "" : "  WRONG");
}

// A 3 x 3 convolution by one algorithm, on noise: no output is further from the exact one than rounding can take it.
void test_convolution(const facet::Convolution& of, const std::string& set) {
    const int side = of.side - 2;
    std::normal_distribution<float> normal;
    Map in(of.side, of.side, of.inputs);
    facet::Floats from(in.values.size() + 16), packed(of.packed_floats), workspace(of.workspace_floats);
    facet::Floats found(size_t(side) * side * of.padded);
    for (size_t i = 0; i < in.values.size(); i++) in.values[i] = from.data()[i] = normal(generator);
    std::vector<float> plain(size_t(9 * of.inputs + 2) * of.outputs);
    for (float& value : plain) value = normal(generator);
    const float *bias = &plain[9 * of.inputs * of.outputs], *slopes = bias + of.outputs;
    of.pack(plain.data(), packed.data());
    of.run(from.data(), packed.data(), workspace.data(), found.data());
    Map right = convolved(in, 3, of.outputs, plain.data(), bias, slopes);
    Map bounds = bound(of, in, plain.data(), bias, slopes);
    double worst = 0, share = 0;
    for (size_t i = 0; i < right.values.size(); i++) {
        const double error = std::abs(found.data()[i / of.outputs * of.padded + i % of.outputs] - right.values[i]);
        worst = std::max(worst, error);
        share = std::max(share, error / bounds.values[i]);
    }
    failures += !(share <= 1);
    std::printf("%s %s by tiles of %d differs by %.1e, %.3f of the bound%s\n", set.c_str(), of.layer, of.tile, worst,
                share, share <= 1 ? "" : "  WRONG");
}

// The mean of squares of `by` x `by` pixels: what area resampling is where the sizes divide.
Map reduced(const Picture& picture, int by) {
    Map out(picture.height / by, picture.width / by, 3);
    for (int y = 0; y < picture.height; y++)
        for (int x = 0; x < picture.width; x++)
            for (int n = 0; n < 3; n++) {
                const double value = picture.pixels[(size_t(y) * picture.width + x) * 3 + n];
                out.at(y / by, x / by, n) += (value - 127.5) / 128 / (by * by);
            }
    return out;
}

void test_level(const Engine& engine, const std::string& set, const std::vector<float>& plain, int by, int width, int height) {
    const std::vector<uint8_t> pixels = noise(size_t(width) * height * by * by);
    const Picture picture{pixels.data(), width * by, height * by};
    const Map level = reduced(picture, by);
    std::vector<float> found(level.values.size());
    engine.resize(picture, width, height, found.data());
    compare(set + " level", found.data(), level, 2e-6);
    const Map heads = heads_of(facet::PNET, plain, level);
    const auto proposals = engine.propose(picture, width, height, -std::numeric_limits<float>::infinity());
    if (proposals.heads.size() == heads.values.size())
        return compare(set + " P-Net", proposals.heads.data(), heads, 2e-5);
    failures++;
    std::printf("%s: cells are missing\n", set.c_str());
}

// Boxes across the picture's edges, the first ones without size, endless, or not numbers.
std::vector<double> boxes(int count) {
    const double infinity = std::numeric_limits<double>::infinity(), nan = std::nan("");
    std::vector<double> all = {0, 0, 61, 47, 60, 46, 61, 47, -1e300, 0, 1e300, 5, nan, 0, 9, 9, 0, 0, infinity, 9, 9, 9, 2, 2};
    for (int box = static_cast<int>(all.size()) / 4; box < count; box++)
        all.insert(all.end(), {box * 9.0 - 30, box * 5.0 - 20, box * 12.0, box * 9.0});
    return all;
}

void test_crops(const Engine& engine, const std::string& set, int network, const std::vector<float>& plain) {
    const bool refines = network == facet::RNET;
    const int side = refines ? facet::RNET_SIDE : facet::ONET_SIDE, count = facet::BATCH + 3, width = 61, height = 47;
    const std::vector<uint8_t> pixels = noise(size_t(width) * height);
    const Picture picture{pixels.data(), width, height};
    const std::vector<double> all = boxes(count);
    const size_t floats = size_t(side) * side * 3;
    std::vector<float> crops(count * floats), heads(size_t(count) * HEADS[network]);
    engine.crop(picture, all.data(), count, side, crops.data());
    if (refines) engine.refine(picture, all.data(), count, heads.data());
    else engine.output(picture, all.data(), count, heads.data());
    Map right(count, 1, HEADS[network]);
    for (int crop = 0; crop < count; crop++) {
        Map image(side, side, 3);
        std::copy_n(crops.data() + crop * floats, floats, image.values.begin());
        const Map one = heads_of(network, plain, image);
        std::copy(one.values.begin(), one.values.end(), right.values.begin() + crop * HEADS[network]);
    }
    compare(set + (refines ? " R-Net" : " O-Net"), heads.data(), right, 2e-5);
}

// Three boxes in a row, each overlapping the next by half of both; one inside the first, and one without size.
void test_suppression() {
    const double all[] = {0, 0, 90, 90, 0, 0, 45, 45, 7, 7, 7, 7, 30, 0, 120, 90, 60, 0, 150, 90};
    const int64_t ranks[] = {0, 3, 4, 1, 2};
    const std::array<uint8_t, 5> of_union = {0, 0, 0, 1, 1}, of_smaller = {0, 1, 0, 1, 1};
    for (const bool smaller : {false, true}) {
        std::array<uint8_t, 5> marks;
        facet::mark_overlapped(all, ranks, 5, 0, 2, 0.45, smaller, marks.data());
        facet::mark_overlapped(all, ranks, 5, 2, 5, 0.45, smaller, marks.data());
        const bool good = marks == (smaller ? of_smaller : of_union);
        failures += !good;
        std::printf("suppression of %s%s\n", smaller ? "smaller" : "union", good ? "" : "  WRONG");
    }
}

}  // namespace

int main() {
    test_suppression();
    std::vector<float> plain[facet::NETWORKS];
    const float* weights[facet::NETWORKS];
    for (int network = 0; network < facet::NETWORKS; network++) {
        plain[network] = made_up(network, generator);
        failures += plain[network].size() != facet::PLAIN_FLOATS[network];
        weights[network] = plain[network].data();
    }
    for (const std::string& set : facet::instruction_sets()) {
        const facet::Convolutions& convolutions = facet::convolutions_of(set.c_str());
        for (int i = 0; i < convolutions.count; i++) test_convolution(convolutions.first[i], set);
        const Engine engine(set, weights);
        for (const auto& [by, width, height] : std::vector<std::array<int, 3>>{
                 {1, 12, 12}, {1, 13, 14}, {2, 37, 24}, {3, 50, 21}, {1, 111, 23}, {1, 45, 41}, {1, 62, 33}, {300, 12, 13}, {2, 211, 12}})
            test_level(engine, set, plain[facet::PNET], by, width, height);
        for (int network : {facet::RNET, facet::ONET}) test_crops(engine, set, network, plain[network]);
    }
    std::printf(failures ? "%d WRONG\n" : "all agree\n", failures);
    return failures != 0;
}
