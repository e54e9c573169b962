// Bytes to wider lanes. The compilers' own __builtin_convertvector would say it in one word, but GCC 12 takes
// it apart into scalars, at ten times the cost; so here, and only here, are intrinsics.
#pragma once

#include "vectors.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace facet::FACET_ISA {
namespace {

// As many 16-bit lanes as fit into a vector: they sum bytes of up to 257 rows.
typedef uint16_t Words __attribute__((vector_size(LANES * 4)));

constexpr int WORDS = 2 * LANES;
constexpr int MOST_SUMMED = 257;

#if defined(__x86_64__)

INLINE __m128i bytes16(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
INLINE __m128i bytes8(const uint8_t* from) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)); }
INLINE __m128i bytes4(const uint8_t* from) {
    int bytes;
    __builtin_memcpy(&bytes, from, 4);
    return _mm_cvtsi32_si128(bytes);
}

#if defined(__AVX512F__)

INLINE V floats(const uint8_t* from) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes16(from))); }
INLINE Words words(const uint8_t* from) {
    return (Words)_mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
INLINE V low(Words words) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm512_castsi512_si256((__m512i)words)));
}
INLINE V high(Words words) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64((__m512i)words, 1)));
}

#elif defined(__AVX2__)

INLINE V floats(const uint8_t* from) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes8(from))); }
INLINE Words words(const uint8_t* from) { return (Words)_mm256_cvtepu8_epi16(bytes16(from)); }
INLINE V low(Words words) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm256_castsi256_si128((__m256i)words)));
}
INLINE V high(Words words) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm256_extracti128_si256((__m256i)words, 1)));
}

#else

INLINE V low(Words words) { return _mm_cvtepi32_ps(_mm_unpacklo_epi16((__m128i)words, _mm_setzero_si128())); }
INLINE V high(Words words) { return _mm_cvtepi32_ps(_mm_unpackhi_epi16((__m128i)words, _mm_setzero_si128())); }
INLINE Words words(const uint8_t* from) { return (Words)_mm_unpacklo_epi8(bytes8(from), _mm_setzero_si128()); }
INLINE V floats(const uint8_t* from) { return low((Words)_mm_unpacklo_epi8(bytes4(from), _mm_setzero_si128())); }

#endif

INLINE V4 floats4(const uint8_t* from) {
#if defined(__SSE4_1__)
    return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(bytes4(from)));
#else
    return floats(from);
#endif
}

#else

INLINE V4 floats4(const uint8_t* from) { return V4{float(from[0]), float(from[1]), float(from[2]), float(from[3])}; }
INLINE V floats(const uint8_t* from) { return floats4(from); }
INLINE Words words(const uint8_t* from) {
    Words words;
    for (int lane = 0; lane < WORDS; lane++) words[lane] = from[lane];
    return words;
}
INLINE V low(Words words) { return V{float(words[0]), float(words[1]), float(words[2]), float(words[3])}; }
INLINE V high(Words words) { return V{float(words[4]), float(words[5]), float(words[6]), float(words[7])}; }

#endif

}  // namespace
}  // namespace facet::FACET_ISA
