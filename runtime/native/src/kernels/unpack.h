// Unpacks a packed block, whose layout format.h draws, to vectors of bytes: it puts the planes of the indices together.
//
//                 byte 0     1     2     3      4     5     6     7     ...  63
//     half 0:  | n=0,k=0  n=0,1 n=0,2 n=0,3 | n=1,0 n=1,1 n=1,2 n=1,3 | ... n=15,3 |    n: output, k: input
//     half 1:  | n=0,k=4  n=0,5 n=0,6 n=0,7 | n=1,4 n=1,5 n=1,6 n=1,7 | ... n=15,7 |
//
// A half is 64 bytes: kHalfVectors vectors of kByteLanes bytes. Four bytes next to each other, a quad, are four inputs
// of one output, and fill a lane of 32 bits.
#pragma once

#include "../format.h"
#include "simd.h"

namespace tfcompress {
namespace {

constexpr int kHalf = kPackedBlockOutputs * kPackedBlockInputs / 2;  // indices of 16 outputs x 4 inputs
constexpr int kHalfVectors = kHalf / kByteLanes;

// The lowest bit of an index that the plane of kWidth bits holds, and where the plane begins in a packed block. Wider
// planes, which are the higher binary digits of kBits, come before it.
template <int kBits, int kWidth>
constexpr int kPlaneBit = kBits / (2 * kWidth) * (2 * kWidth);
template <int kBits, int kWidth>
constexpr int kPlaneByte = static_cast<int>(PackedBlockBytes(kPlaneBit<kBits, kWidth>));

// Unpacks the 2-bit plane of a half. `packed` repeats its 16 bytes, of which byte i has two bits of each of the indices
// i, 16 + i, 32 + i and 48 + i. Returns the indices from 16 * kFirst on, with their two bits at kTo and kTo + 1; other
// bits are undefined.
template <int kTo, int kFirst>
HWY_INLINE ByteVector TwoBits(ByteVector packed) {
  const auto words = hn::BitCast(kUints, packed);
  if constexpr (kByteLanes == 16) {
    constexpr int kLeft = kTo - 2 * kFirst;
    if constexpr (kLeft >= 0) return hn::BitCast(kBytes, hn::ShiftLeft<kLeft>(words));
    return hn::BitCast(kBytes, hn::ShiftRight<-kLeft>(words));
  } else {
    // A rotation shifts in both directions at once. Smaller vectors need only one direction, and have no rotation.
    constexpr bool kRotate = kByteLanes == 64, kRight = kTo < 2 * kFirst + 2;
    alignas(64) uint32_t amounts[kLanes];
    TFCOMPRESS_UNROLL
    for (int lane = 0; lane < kLanes; ++lane) {
      const int right = 2 * (kFirst + lane / 4) - kTo;
      amounts[lane] = static_cast<uint32_t>(kRotate ? right & 31 : kRight ? right : -right);
    }
    const auto by = hn::Load(kUints, amounts);
    if constexpr (kRotate) return hn::BitCast(kBytes, hn::Ror(words, by));
    if constexpr (kRight) return hn::BitCast(kBytes, hn::Shr(words, by));
    return hn::BitCast(kBytes, hn::Shl(words, by));
  }
}

// Returns vector `kVector` of the indices of half `kWhich` of a packed block.
template <int kBits, int kWhich, int kVector>
HWY_INLINE ByteVector Indices(const uint8_t* block) {
  constexpr int kFirst = kVector * kByteLanes;
  if constexpr (kBits == 8) return hn::LoadU(kBytes, block + kHalf * kWhich + kFirst);
  ByteVector indices = hn::Zero(kBytes);
  if constexpr ((kBits & 4) != 0) {
    const ByteVector both = hn::LoadU(kBytes, block + kPlaneByte<kBits, 4> + kFirst);
    const hn::Repartition<uint16_t, ByteTag> shorts;
    indices = kWhich == 0 ? both : hn::BitCast(kBytes, hn::ShiftRight<4>(hn::BitCast(shorts, both)));
    indices = hn::And(indices, hn::Set(kBytes, uint8_t{15}));
  }
  if constexpr ((kBits & 2) != 0) {
    constexpr int kTo = kPlaneBit<kBits, 2>;
    const ByteVector packed = hn::LoadDup128(kBytes, block + kPlaneByte<kBits, 2> + 16 * kWhich);
    const ByteVector placed = TwoBits<kTo, kFirst / 16>(packed);
    indices = hn::OrAnd(indices, placed, hn::Set(kBytes, uint8_t{3 << kTo}));
  }
  if constexpr ((kBits & 1) != 0) {
    const auto set = hn::LoadMaskBits(kBytes, block + kPlaneByte<kBits, 1> + 8 * kWhich + kFirst / 8);
    indices = hn::Or(indices, hn::IfThenElseZero(set, hn::Set(kBytes, uint8_t{1 << kPlaneBit<kBits, 1>})));
  }
  return indices;
}

// Calls body(indices, half, vector) for all vectors of a packed block.
template <int kBits, class Body>
HWY_INLINE void ForIndices(const uint8_t* block, const Body& body) {
  body(Indices<kBits, 0, 0>(block), 0, 0);
  if constexpr (kHalfVectors > 1) body(Indices<kBits, 0, 1>(block), 0, 1);
  if constexpr (kHalfVectors > 2) body(Indices<kBits, 0, 2>(block), 0, 2);
  if constexpr (kHalfVectors > 2) body(Indices<kBits, 0, 3>(block), 0, 3);
  body(Indices<kBits, 1, 0>(block), 1, 0);
  if constexpr (kHalfVectors > 1) body(Indices<kBits, 1, 1>(block), 1, 1);
  if constexpr (kHalfVectors > 2) body(Indices<kBits, 1, 2>(block), 1, 2);
  if constexpr (kHalfVectors > 2) body(Indices<kBits, 1, 3>(block), 1, 3);
}

// Indices of 6 bits: the lower four, and the upper two at the top of each byte. The other bits of the latter are
// undefined.
struct SplitIndices {
  ByteVector nibbles, tops;
};

// Like Indices of 6 bits.
template <int kWhich, int kVector>
HWY_INLINE SplitIndices SixBits(const uint8_t* block) {
  const ByteVector packed = hn::LoadDup128(kBytes, block + kPlaneByte<6, 2> + 16 * kWhich);
  return {Indices<4, kWhich, kVector>(block), TwoBits<6, kVector * kByteLanes / 16>(packed)};
}

// Calls body(Constant<bits>) for the numbers of bits that the format has.
template <class Body>
HWY_INLINE void WithBits(int bits, const Body& body) {
  switch (bits) {
    case 2:
      return body(Constant<2>{});
    case 3:
      return body(Constant<3>{});
    case 4:
      return body(Constant<4>{});
    case 5:
      return body(Constant<5>{});
    case 6:
      return body(Constant<6>{});
    case 7:
      return body(Constant<7>{});
    default:
      return body(Constant<8>{});
  }
}

}  // namespace
}  // namespace tfcompress
