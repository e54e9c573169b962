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
typedef float Half __attribute__((vector_size(LANES > 4 ? LANES * 2 : 16)));  // for what would not fill a whole one
typedef float V4 __attribute__((vector_size(16)));  // one pixel: red, green, blue, and what comes after it

template <class T>
constexpr int lanes = sizeof(T) / sizeof(float);

template <class T = V>
INLINE T load(const float* from) {
    T value;
    __builtin_memcpy(&value, from, sizeof(T));
    return value;
}
template <class T>
INLINE void store(float* to, T value) { __builtin_memcpy(to, &value, sizeof(T)); }

// Subtracting zero, and not adding to it, keeps the sign of a zero; so compilers see a mere broadcast.
template <class T = V>
INLINE T broadcast(float value) { return value - T{}; }

template <class T>
INLINE T larger(T a, T b) { return a > b ? a : b; }

// Slopes may be negative or above one, so neither of the usual shortcuts by a maximum is right.
template <class T>
INLINE T prelu(T value, T slope) { return value > 0 ? value : value * slope; }

constexpr int smaller(int a, int b) { return a < b ? a : b; }
constexpr size_t largest(size_t a, size_t b) { return a > b ? a : b; }
constexpr int divided_up(int value, int by) { return (value + by - 1) / by; }

}  // namespace
}  // namespace facet::FACET_ISA
