// Rounds floats to whole numbers by adding a number so large that floats of its size have no fraction: the lowest bits
// of the sum are the nearest whole number. This takes one addition, which can be fused with a multiplication.
#pragma once

#include "simd.h"

namespace tfcompress {
namespace {

constexpr float kLarge = 12582912.0f;  // 1.5 * 2^23
constexpr int32_t kLargeBits = 0x4b400000;

// For |x * factor| < 2^22. The result of other values, and of NaN, is undefined.
HWY_INLINE IntVector Rounded(FloatVector x, FloatVector factor, int offset = 0) {
  const auto bits = hn::BitCast(kInts, hn::MulAdd(x, factor, hn::Set(kFloats, kLarge)));
  return hn::Add(bits, hn::Set(kInts, offset - kLargeBits));
}

HWY_INLINE IntVector Rounded(FloatVector x) {
  return hn::Sub(hn::BitCast(kInts, hn::Add(x, hn::Set(kFloats, kLarge))), hn::Set(kInts, kLargeBits));
}

// Stores the lowest byte of each lane.
HWY_INLINE void StoreLowBytes(IntVector v, uint8_t* to) {
  const hn::Rebind<uint8_t, FloatTag> few;
  hn::StoreU(hn::TruncateTo(few, hn::BitCast(kUints, v)), few, to);
}

// Converts four vectors of integers to one of bytes, saturated and in order.
HWY_INLINE ByteVector SaturatedBytes(IntVector a, IntVector b, IntVector c, IntVector d) {
  const hn::Repartition<int16_t, IntTag> shorts;
  const ByteVector bytes =
      hn::ReorderDemote2To(kBytes, hn::ReorderDemote2To(shorts, a, b), hn::ReorderDemote2To(shorts, c, d));
  if constexpr (kByteLanes == 16) {
    return bytes;
  } else {
    // Demotion works on 16 bytes at a time, each of which then have four bytes of a, of b, of c and of d.
    constexpr int kSixteens = kByteLanes / 16;
    alignas(64) int32_t from[kLanes];
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kLanes; ++i) from[i] = 4 * (i % kSixteens) + i / kSixteens;
    const auto order = hn::SetTableIndices(kInts, from);
    return hn::BitCast(kBytes, hn::TableLookupLanes(hn::BitCast(kInts, bytes), order));
  }
}

}  // namespace
}  // namespace tfcompress
