// The instruction set's vectors of floats, by the compiler's own vector types.
#pragma once

#include <cstddef>
#include <cstdint>

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

namespace facet::FACET_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX2__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif

typedef float V __attribute__((vector_size(LANES * 4)));
typedef float Unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef float V4 __attribute__((vector_size(16)));  // one pixel: red, green, blue, and what comes after it
typedef float Unaligned4 __attribute__((vector_size(16), aligned(4), may_alias));

INLINE V load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
INLINE void store(float* to, V value) { *reinterpret_cast<Unaligned*>(to) = value; }
INLINE V4 load4(const float* from) { return *reinterpret_cast<const Unaligned4*>(from); }
INLINE void store4(float* to, V4 value) { *reinterpret_cast<Unaligned4*>(to) = value; }

// Subtracting zero, and not adding to it, keeps the sign of a zero; so compilers see a mere broadcast.
INLINE V broadcast(float value) { return value - V{}; }

INLINE V larger(V a, V b) { return a > b ? a : b; }

// Slopes may be negative or above one, so neither of the usual shortcuts by a maximum is right.
INLINE V prelu(V value, V slope) { return value > 0 ? value : value * slope; }

constexpr int smaller(int a, int b) { return a < b ? a : b; }
constexpr size_t largest(size_t a, size_t b) { return a > b ? a : b; }
constexpr int divided_up(int value, int by) { return (value + by - 1) / by; }

}  // namespace
}  // namespace facet::FACET_ISA
