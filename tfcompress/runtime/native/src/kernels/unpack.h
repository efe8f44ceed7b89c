// A tile of packed indices to bytes, in vectors: the planes of docs/format.md, put together again.
#pragma once

#include "../format.h"
#include "simd.h"

namespace tfcompress {
namespace {

constexpr int kHalf = kPackedBlockOutputs * kPackedBlockInputs / 2;  // indices of half a tile: 16 outputs x 4 inputs
constexpr int kHalfVectors = kHalf / kByteLanes;

// Where the plane of `kWidth` bits begins in a tile, and the lowest bit of the index that it holds. Wider planes, which
// are the higher binary digits of kBits, come before it.
template <int kBits, int kWidth>
constexpr int kPlaneBit = kBits / (2 * kWidth) * (2 * kWidth);
template <int kBits, int kWidth>
constexpr int kPlaneByte = 16 * kPlaneBit<kBits, kWidth>;

// Bits 2 r and 2 r + 1 of the bytes of 16-byte block r, at bits kTo and kTo + 1; other bits are anything. Block r of
// the half is block r - kFirst of the vector.
template <int kTo, int kFirst>
HWY_INLINE ByteVector TwoBits(ByteVector packed) {
  const auto words = hn::BitCast(kUints, packed);
  if constexpr (kByteLanes == 16) {
    constexpr int kLeft = kTo - 2 * kFirst;
    if constexpr (kLeft >= 0) return hn::BitCast(kBytes, hn::ShiftLeft<kLeft>(words));
    return hn::BitCast(kBytes, hn::ShiftRight<-kLeft>(words));
  } else {
    // A rotation takes both directions at once; smaller vectors need only one of them, and have no rotation.
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

// Vector `kVector` of the indices of half `kWhich` of a tile: four inputs of an output side by side.
template <int kBits, int kWhich, int kVector>
HWY_INLINE ByteVector Indices(const uint8_t* tile) {
  constexpr int kFirst = kVector * kByteLanes;
  if constexpr (kBits == 8) return hn::LoadU(kBytes, tile + kHalf * kWhich + kFirst);
  ByteVector indices = hn::Zero(kBytes);
  if constexpr ((kBits & 4) != 0) {
    const ByteVector both = hn::LoadU(kBytes, tile + kPlaneByte<kBits, 4> + kFirst);
    const hn::Repartition<uint16_t, ByteTag> shorts;
    indices = kWhich == 0 ? both : hn::BitCast(kBytes, hn::ShiftRight<4>(hn::BitCast(shorts, both)));
    indices = hn::And(indices, hn::Set(kBytes, uint8_t{15}));
  }
  if constexpr ((kBits & 2) != 0) {
    constexpr int kTo = kPlaneBit<kBits, 2>;
    const ByteVector packed = hn::LoadDup128(kBytes, tile + kPlaneByte<kBits, 2> + 16 * kWhich);
    const ByteVector placed = TwoBits<kTo, kFirst / 16>(packed);
    indices = hn::OrAnd(indices, placed, hn::Set(kBytes, uint8_t{3 << kTo}));
  }
  if constexpr ((kBits & 1) != 0) {
    const auto set = hn::LoadMaskBits(kBytes, tile + kPlaneByte<kBits, 1> + 8 * kWhich + kFirst / 8);
    indices = hn::Or(indices, hn::IfThenElseZero(set, hn::Set(kBytes, uint8_t{1 << kPlaneBit<kBits, 1>})));
  }
  return indices;
}

// body(indices, half, vector) for all vectors of a tile.
template <int kBits, class Body>
HWY_INLINE void ForIndices(const uint8_t* tile, const Body& body) {
  body(Indices<kBits, 0, 0>(tile), 0, 0);
  if constexpr (kHalfVectors > 1) body(Indices<kBits, 0, 1>(tile), 0, 1);
  if constexpr (kHalfVectors > 2) body(Indices<kBits, 0, 2>(tile), 0, 2);
  if constexpr (kHalfVectors > 2) body(Indices<kBits, 0, 3>(tile), 0, 3);
  body(Indices<kBits, 1, 0>(tile), 1, 0);
  if constexpr (kHalfVectors > 1) body(Indices<kBits, 1, 1>(tile), 1, 1);
  if constexpr (kHalfVectors > 2) body(Indices<kBits, 1, 2>(tile), 1, 2);
  if constexpr (kHalfVectors > 2) body(Indices<kBits, 1, 3>(tile), 1, 3);
}

// body(Constant<bits>) for the bit widths that the format has.
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
