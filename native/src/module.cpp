// The Python module: arrays in, arrays out. Callers have checked shapes and types (engine_native.py); what
// does not fit is refused here, too, by a TypeError or ValueError.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <stdexcept>

#include "engine.h"
#include "suppression.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace facet {
namespace {

using Pixels = nb::ndarray<const uint8_t, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;
using Boxes = nb::ndarray<const double, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Ranks = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Marks = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Array = nb::ndarray<nb::numpy, T>;

constexpr size_t MOST_PIXELS_A_SIDE = 1 << 24;  // to which float32 counts exactly

Picture picture_of(const Pixels& pixels) {
    for (size_t side : {pixels.shape(0), pixels.shape(1)})
        if (side == 0 || side > MOST_PIXELS_A_SIDE)
            throw std::invalid_argument("the picture has no pixels, or too many on a side");
    return {pixels.data(), static_cast<int>(pixels.shape(1)), static_cast<int>(pixels.shape(0))};
}

// Gives Python an array that owns what the vector holds.
template <class T>
Array<T> array(std::vector<T>&& values, std::initializer_list<size_t> shape) {
    auto kept = std::make_unique<std::vector<T>>(std::move(values));
    T* data = kept->data();
    nb::capsule owner(kept.get(), [](void* memory) noexcept { delete static_cast<std::vector<T>*>(memory); });
    kept.release();
    return Array<T>(data, shape, owner);
}

void build(Engine* engine, const std::string& name, const Weights& pnet, const Weights& rnet, const Weights& onet) {
    const Weights* all[NETWORKS] = {&pnet, &rnet, &onet};
    const float* weights[NETWORKS];
    for (int network = 0; network < NETWORKS; network++) {
        if (all[network]->size() != PLAIN_FLOATS[network])
            throw std::invalid_argument("weights of another network, or of another version");
        weights[network] = all[network]->data();
    }
    new (engine) Engine(name, weights);
}

void check_level(int width, int height) {
    for (int side : {width, height})
        if (side < 12 || static_cast<size_t>(side) > MOST_PIXELS_A_SIDE)
            throw std::invalid_argument("a level has at least 12 pixels on each side");
}

nb::tuple propose(const Engine& engine, const Pixels& pixels, int width, int height, float least) {
    check_level(width, height);
    const Picture picture = picture_of(pixels);
    Proposals found;
    {
        nb::gil_scoped_release released;
        found = engine.propose(picture, width, height, least);
    }
    const size_t count = found.cells.size() / 2;
    return nb::make_tuple(array(std::move(found.cells), {count, 2}), array(std::move(found.heads), {count, PNET_HEADS}));
}

template <void (Engine::*see)(const Picture&, const double*, size_t, float*) const, int HEADS>
Array<float> look(const Engine& engine, const Pixels& pixels, const Boxes& boxes) {
    const Picture picture = picture_of(pixels);
    std::vector<float> heads(boxes.shape(0) * HEADS);
    {
        nb::gil_scoped_release released;
        (engine.*see)(picture, boxes.data(), boxes.shape(0), heads.data());
    }
    return array(std::move(heads), {boxes.shape(0), HEADS});
}

Array<float> resize(const Engine& engine, const Pixels& pixels, int width, int height) {
    check_level(width, height);
    std::vector<float> out(static_cast<size_t>(width) * height * 3);
    engine.resize(picture_of(pixels), width, height, out.data());
    return array(std::move(out), {static_cast<size_t>(height), static_cast<size_t>(width), 3});
}

Array<float> crop(const Engine& engine, const Pixels& pixels, const Boxes& boxes, int side) {
    if (side < 2 || side > ONET_SIDE) throw std::invalid_argument("a crop's side is 2 to 48");
    const size_t pixels_a_side = static_cast<size_t>(side);
    std::vector<float> out(boxes.shape(0) * pixels_a_side * pixels_a_side * 3);
    engine.crop(picture_of(pixels), boxes.data(), boxes.shape(0), side, out.data());
    return array(std::move(out), {boxes.shape(0), pixels_a_side, pixels_a_side, 3});
}

void mark(const Boxes& boxes, const Ranks& ranks, size_t begin, size_t end, double threshold, bool of_smaller,
          const Marks& marks) {
    const size_t count = boxes.shape(0);
    if (begin > end || end > count || ranks.shape(0) != count || marks.shape(0) != count)
        throw std::invalid_argument("there are no such boxes, or not as many ranks or marks");
    nb::gil_scoped_release released;
    mark_overlapped(boxes.data(), ranks.data(), count, begin, end, threshold, of_smaller, marks.data());
}

}  // namespace
}  // namespace facet

NB_MODULE(facet_native, module) {
    using namespace facet;
    module.doc() = "MTCNN's three networks as kernels for this CPU; see docs/native.md.";
    module.def("instruction_sets", &instruction_sets, "Names of those that this CPU can run, best first.");
    module.def("mark_overlapped", &mark, nb::arg("boxes").noconvert(), nb::arg("ranks").noconvert(), "begin"_a, "end"_a,
               "threshold"_a, "of_smaller"_a, nb::arg("marks").noconvert(),
               "Set to 1 or 0 the marks of boxes `begin` to `end`, of (N, 4), by x1: whether one of lower rank overlaps.");
    nb::class_<Engine>(module, "Engine", "The networks, packed for one instruction set.")
        .def("__init__", &build, "instruction_set"_a, nb::arg("pnet").noconvert(), nb::arg("rnet").noconvert(),
             nb::arg("onet").noconvert())
        .def("propose", &propose, nb::arg("picture").noconvert(), "width"_a, "height"_a, "least"_a,
             "Cells (N, 2) of a level of this size whose logit exceeds `least`, and their heads (N, 5).")
        .def("refine", &look<&Engine::refine, RNET_HEADS>, nb::arg("picture").noconvert(), nb::arg("boxes").noconvert(),
             "R-Net's heads (N, 5) of boxes.")
        .def("output", &look<&Engine::output, ONET_HEADS>, nb::arg("picture").noconvert(), nb::arg("boxes").noconvert(),
             "O-Net's heads (N, 15) of boxes.")
        .def("tiles", &Engine::tiles, "By network, m of Winograd's F(m x m, k x k) of each convolution; 1 is direct.")
        .def("resize", &resize, nb::arg("picture").noconvert(), "width"_a, "height"_a, "One level, for tests.")
        .def("crop", &crop, nb::arg("picture").noconvert(), nb::arg("boxes").noconvert(), "side"_a,
             "Crops of boxes, for tests.");
}
