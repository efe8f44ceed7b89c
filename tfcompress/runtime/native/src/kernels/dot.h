// Products of uint8 and int8 numbers, summed in int32: exact, whatever the numbers.
//
// Four consecutive inputs of an output are a quad: 32 bits of weights as decoding gives them. Processors with a dot
// product multiply a quad of activations and a quad of weights in one instruction. For the others a quad is kept as
// kWords = 2 words of two int16 each, inputs (0, 2) and (1, 3), since what they have for 8 bits saturates.
#pragma once

#include "simd.h"

#if HWY_ARCH_X86 && (defined(__AVX512VNNI__) || defined(__AVXVNNI__))
#define TFCOMPRESS_HAS_DOT 1
#else
#define TFCOMPRESS_HAS_DOT 0
#endif

namespace tfcompress {
namespace {

constexpr int kWords = TFCOMPRESS_HAS_DOT ? 1 : 2;  // 32-bit words of a quad
constexpr int kQuadBytes = 4 * kWords;

// sum + the products of a word of each lane. For gcc in assembly: gcc 12 does not keep the sums of a tile in their
// registers, which costs half the speed.
HWY_INLINE IntVector DotWord(IntVector sum, IntVector activations, IntVector weights) {
#if TFCOMPRESS_HAS_DOT && HWY_COMPILER_GCC_ACTUAL && HWY_CAP_GE512
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(activations.raw), "v"(weights.raw));
  return sum;
#elif TFCOMPRESS_HAS_DOT && HWY_COMPILER_GCC_ACTUAL
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum.raw) : "x"(activations.raw), "x"(weights.raw));
  return sum;
#elif TFCOMPRESS_HAS_DOT && HWY_CAP_GE512
  return IntVector{_mm512_dpbusd_epi32(sum.raw, activations.raw, weights.raw)};
#elif TFCOMPRESS_HAS_DOT
  return IntVector{_mm256_dpbusd_avx_epi32(sum.raw, activations.raw, weights.raw)};
#elif HWY_TARGET == HWY_AVX2 && HWY_COMPILER_GCC_ACTUAL
  IntVector products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum.raw), "=&x"(products.raw)
      : "x"(activations.raw), "x"(weights.raw));
  return sum;
#else
  const hn::Repartition<int16_t, IntTag> shorts;
  return hn::Add(sum, hn::WidenMulPairwiseAdd(kInts, hn::BitCast(shorts, activations), hn::BitCast(shorts, weights)));
#endif
}

struct QuadWords {
  IntVector of[kWords];
};

// Signed quads, as decoded, to words.
HWY_INLINE QuadWords WeightWords(SignedByteVector weights) {
#if TFCOMPRESS_HAS_DOT
  return {{hn::BitCast(kInts, weights)}};
#else
  const hn::Repartition<int16_t, IntTag> shorts;
  const auto pairs = hn::BitCast(shorts, weights);
  return {
      {hn::BitCast(kInts, hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs))), hn::BitCast(kInts, hn::ShiftRight<8>(pairs))}};
#endif
}

// Unsigned quads to words.
HWY_INLINE QuadWords ActivationWords(ByteVector activations) {
#if TFCOMPRESS_HAS_DOT
  return {{hn::BitCast(kInts, activations)}};
#else
  const hn::Repartition<uint16_t, IntTag> shorts;
  const auto pairs = hn::BitCast(shorts, activations);
  return {{hn::BitCast(kInts, hn::And(pairs, hn::Set(shorts, uint16_t{255}))),
           hn::BitCast(kInts, hn::ShiftRight<8>(pairs))}};
#endif
}

// One quad of activations for all lanes.
HWY_INLINE QuadWords BroadcastQuad(const uint8_t* activations) {
  int32_t quad;
  memcpy(&quad, activations, sizeof quad);
  return ActivationWords(hn::BitCast(kBytes, hn::Set(kInts, quad)));
}

// A row of `quads` quads to words in the order in which a tile takes them: at least quads rounded up to kLanes are
// read and written. Only where kWords is 2.
HWY_INLINE void WidenRow(const uint8_t* row, int quads, uint8_t* words) {
  auto* to = reinterpret_cast<int32_t*>(words);
  for (int i = 0; i < quads; i += kLanes) {
    const QuadWords wide = ActivationWords(hn::LoadU(kBytes, row + 4 * i));
    hn::StoreInterleaved2(wide.of[0], wide.of[kWords - 1], kInts, to + 2 * i);
  }
}

}  // namespace
}  // namespace tfcompress
