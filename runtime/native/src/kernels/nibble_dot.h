// Dot products of one quantized row for AVX2 without a dot product instruction. vpmaddubsw multiplies bytes as decoding
// gives them, but saturates if both factors have 8 bits. So activations are cut into nibbles: of the products with a
// nibble, 16 bits hold the sum of 8 quads. There are no more multiplications than with words of two int16 each (dot.h),
// and weights need not be widened to those, which takes more shifts than a row has time for. A register tile widens its
// weights only once for all rows.
#pragma once

#include "dot.h"

namespace tfcompress {
namespace {

constexpr bool kDotsNibbles = HWY_TARGET == HWY_AVX2 && !TFCOMPRESS_HAS_DOT;

// Writes the low nibbles of a row of `stride` bytes, whole vectors, and after them its high nibbles.
HWY_INLINE void CutIntoNibbles(const uint8_t* q, size_t stride, uint8_t* nibbles) {
  const hn::Repartition<uint16_t, ByteTag> shorts;
  const ByteVector low = hn::Set(kBytes, uint8_t{15});
  for (size_t k = 0; k < stride; k += kByteLanes) {
    const ByteVector bytes = hn::LoadU(kBytes, q + k);
    const ByteVector shifted = hn::BitCast(kBytes, hn::ShiftRight<4>(hn::BitCast(shorts, bytes)));
    hn::Store(hn::And(bytes, low), kBytes, nibbles + k);
    hn::Store(hn::And(shifted, low), kBytes, nibbles + stride + k);
  }
}

// The sum for a vector of outputs.
class NibbleSum {
 public:
  static constexpr int kMostQuads = 8;  // -128 * 15 * 4 / 2 lanes * 8 = -30720

  // Adds the products of a quad. Only kMostQuads may be added before Widen.
  HWY_INLINE void Add(ByteVector low, ByteVector high, SignedByteVector weights) {
    low_ = hn::Add(low_, hn::SatWidenMulPairwiseAdd(kShorts, low, weights));
    high_ = hn::Add(high_, hn::SatWidenMulPairwiseAdd(kShorts, high, weights));
  }

  HWY_INLINE void Widen() {
    sum_ = hn::Add(sum_, hn::WidenMulPairwiseAdd(kInts, low_, hn::Set(kShorts, int16_t{1})));
    sum_ = hn::Add(sum_, hn::WidenMulPairwiseAdd(kInts, high_, hn::Set(kShorts, int16_t{16})));
    low_ = high_ = hn::Zero(kShorts);
  }

  HWY_INLINE IntVector sum() const { return sum_; }

 private:
  using ShortTag = hn::Repartition<int16_t, IntTag>;
  static constexpr ShortTag kShorts{};

  hn::Vec<ShortTag> low_ = hn::Zero(kShorts), high_ = hn::Zero(kShorts);
  IntVector sum_ = hn::Zero(kInts);
};

}  // namespace
}  // namespace tfcompress
