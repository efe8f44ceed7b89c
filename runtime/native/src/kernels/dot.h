// Dot products of uint8 and int8 numbers, summed in int32, which are always exact.
//
// Four consecutive inputs of an output are a quad: 32 bits of weights, as decoding gives them. Activations and weights
// are stored as words in the form that the processor multiplies best:
//   x86 with a dot product, Arm with a mixed one (i8mm): quads as they are
//   Arm with a dot product of signed numbers only: quads; those of activations minus 128
//   other Arm: the same, but with inputs 0 and 1 of four quads before their inputs 2 and 3, for two rounds of 8-bit
//   products
//   others: a quad becomes kWords = 2 words of two int16 each, inputs (0, 2) and (1, 3), because their 8-bit products
//   saturate
#pragma once

#include "simd.h"

#if HWY_ARCH_X86 && (defined(__AVX512VNNI__) || defined(__AVXVNNI__))
#define TFCOMPRESS_HAS_DOT 1
#else
#define TFCOMPRESS_HAS_DOT 0
#endif

namespace tfcompress {
namespace {

#if HWY_ARCH_ARM_A64
constexpr int kWords = 1;
#if defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int kTakenOff = 0;
#else
constexpr int kTakenOff = 128;
#endif
#else
constexpr int kWords = TFCOMPRESS_HAS_DOT ? 1 : 2;  // 32-bit words of a quad
constexpr int kTakenOff = 0;                        // from activations in words; sums must be corrected for it
#endif
constexpr int kQuadBytes = 4 * kWords;
constexpr bool kSameWords = kWords == 1 && kTakenOff == 0;  // Words of activations are their bytes.

// Whether DotWord is exact only if no weight is -128.
constexpr bool kWantsSmallWeights =
#if HWY_ARCH_ARM_A64 && !defined(__ARM_FEATURE_DOTPROD)
    true;
#else
    false;
#endif

// Adds the products of a word to each lane of `sum`. (If kWantsSmallWeights, weights must not be -128.) gcc needs
// assembly: gcc 12 does not keep the sums of a register tile in their registers, which costs half of the speed.
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
#elif HWY_ARCH_ARM_A64 && defined(__ARM_FEATURE_MATMUL_INT8)
  return IntVector(vusdotq_s32(sum.raw, vreinterpretq_u8_s32(activations.raw), vreinterpretq_s8_s32(weights.raw)));
#elif HWY_ARCH_ARM_A64 && defined(__ARM_FEATURE_DOTPROD)
  return IntVector(vdotq_s32(sum.raw, vreinterpretq_s8_s32(weights.raw), vreinterpretq_s8_s32(activations.raw)));
#elif HWY_ARCH_ARM_A64
  const int8x16_t a = vreinterpretq_s8_s32(activations.raw), w = vreinterpretq_s8_s32(weights.raw);
  int16x8_t products = vmull_s8(vget_low_s8(a), vget_low_s8(w));
  products = vmlal_high_s8(products, a, w);  // Two of at most 128 * 127 fit.
  return IntVector(vpadalq_s16(sum.raw, products));
#else
  const hn::Repartition<int16_t, IntTag> shorts;
  return hn::Add(sum, hn::WidenMulPairwiseAdd(kInts, hn::BitCast(shorts, activations), hn::BitCast(shorts, weights)));
#endif
}

// Like DotWord, for weights that may be -128.
HWY_INLINE IntVector DotAnyWord(IntVector sum, IntVector activations, IntVector weights) {
#if HWY_ARCH_ARM_A64 && !defined(__ARM_FEATURE_DOTPROD)
  const int8x16_t a = vreinterpretq_s8_s32(activations.raw), w = vreinterpretq_s8_s32(weights.raw);
  const int32x4_t first = vpadalq_s16(sum.raw, vmull_s8(vget_low_s8(a), vget_low_s8(w)));
  return IntVector(vpadalq_s16(first, vmull_high_s8(a, w)));
#else
  return DotWord(sum, activations, weights);
#endif
}

#if HWY_ARCH_ARM_A64 && defined(__ARM_FEATURE_DOTPROD)
#define TFCOMPRESS_HAS_LANE_DOT 1

// Like DotWord, with the word of activations in one lane.
template <int kLane>
HWY_INLINE IntVector DotLane(IntVector sum, IntVector activations, IntVector weights) {
  const int8x16_t w = vreinterpretq_s8_s32(weights.raw);
#if defined(__ARM_FEATURE_MATMUL_INT8)
  return IntVector(vsudotq_laneq_s32(sum.raw, w, vreinterpretq_u8_s32(activations.raw), kLane));
#else
  return IntVector(vdotq_laneq_s32(sum.raw, w, vreinterpretq_s8_s32(activations.raw), kLane));
#endif
}
#else
#define TFCOMPRESS_HAS_LANE_DOT 0
#endif

struct QuadWords {
  IntVector of[kWords];
};

// Reorders the bytes of quads to those of words.
HWY_INLINE ByteVector WordOrder(ByteVector quads) {
#if HWY_ARCH_ARM_A64 && !defined(__ARM_FEATURE_DOTPROD)
  alignas(16) static constexpr uint8_t kOrder[16] = {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15};
  return hn::TableLookupBytes(quads, hn::Load(kBytes, kOrder));
#else
  return quads;
#endif
}

// Converts signed quads, as decoded, to words.
HWY_INLINE QuadWords WeightWords(SignedByteVector weights) {
#if TFCOMPRESS_HAS_DOT || HWY_ARCH_ARM_A64
  return {{hn::BitCast(kInts, WordOrder(hn::BitCast(kBytes, weights)))}};
#else
  const hn::Repartition<int16_t, IntTag> shorts;
  const auto pairs = hn::BitCast(shorts, weights);
  return {
      {hn::BitCast(kInts, hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs))), hn::BitCast(kInts, hn::ShiftRight<8>(pairs))}};
#endif
}

// Converts unsigned quads to words.
HWY_INLINE QuadWords ActivationWords(ByteVector activations) {
#if TFCOMPRESS_HAS_DOT || HWY_ARCH_ARM_A64
  if constexpr (kTakenOff == 128) activations = hn::Xor(activations, hn::Set(kBytes, uint8_t{128}));
  return {{hn::BitCast(kInts, activations)}};
#else
  const hn::Repartition<uint16_t, IntTag> shorts;
  const auto pairs = hn::BitCast(shorts, activations);
  return {{hn::BitCast(kInts, hn::And(pairs, hn::Set(shorts, uint16_t{255}))),
           hn::BitCast(kInts, hn::ShiftRight<8>(pairs))}};
#endif
}

// Returns a word of activations in all lanes, ready to be multiplied.
HWY_INLINE IntVector BroadcastWord(int32_t word) {
  return hn::BitCast(kInts, WordOrder(hn::BitCast(kBytes, hn::Set(kInts, word))));
}

// Returns a quad of activations in all lanes. kTakenOff has already been subtracted from its bytes.
HWY_INLINE QuadWords BroadcastQuad(const uint8_t* activations) {
  int32_t quad;
  memcpy(&quad, activations, sizeof quad);
  if constexpr (kWords == 1) return {{BroadcastWord(quad)}};
  return ActivationWords(hn::BitCast(kBytes, hn::Set(kInts, quad)));
}

// Converts a row of quads to words in the order in which a register tile takes them. Reads and writes whole vectors:
// `quads` rounded up to a multiple of kLanes. Not needed if kSameWords.
HWY_INLINE void MakeWords(const uint8_t* row, int quads, uint8_t* words) {
  auto* to = reinterpret_cast<int32_t*>(words);
  for (int i = 0; i < quads; i += kLanes) {
    const QuadWords made = ActivationWords(hn::LoadU(kBytes, row + 4 * i));
    if constexpr (kWords == 1) {
      hn::StoreU(made.of[0], kInts, to + i);
    } else {
      hn::StoreInterleaved2(made.of[0], made.of[kWords - 1], kInts, to + 2 * i);
    }
  }
}

}  // namespace
}  // namespace tfcompress
