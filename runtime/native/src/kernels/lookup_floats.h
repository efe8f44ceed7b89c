// Looks up float32 centroids by index. A vector of indices holds four inputs of each output side by side. It becomes
// four vectors, one per input, with outputs side by side.
#pragma once

#include "lookup_bytes.h"

namespace tfcompress {
namespace {

struct FourInputs {
  FloatVector of[4];
};

// Looks up one value at a time, where nothing is faster.
template <int kBits>
class ScalarFloatTable {
 public:
  HWY_INLINE explicit ScalarFloatTable(const float* centroids) : centroids_(centroids) {}

  HWY_INLINE FourInputs operator()(ByteVector indices) const {
    alignas(64) uint8_t at[kByteLanes];
    alignas(64) float found[4][kLanes];
    hn::Store(indices, kBytes, at);
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kByteLanes; ++i) found[i % 4][i / 4] = centroids_[at[i]];
    return {{hn::Load(kFloats, found[0]), hn::Load(kFloats, found[1]), hn::Load(kFloats, found[2]),
             hn::Load(kFloats, found[3])}};
  }

 private:
  const float* centroids_;
};

#if HWY_CAP_GE512

// Permutes one or two registers of 16 floats and chooses between the results.
template <int kBits>
class PermutedFloatTable {
 public:
  HWY_INLINE explicit PermutedFloatTable(const float* centroids) {
    for (int i = 0; i < kRegisters; ++i) registers_[i] = LoadFirst(centroids + kLanes * i, 1 << kBits);
  }

  HWY_INLINE FourInputs operator()(ByteVector indices) const {
    const auto words = hn::BitCast(kUints, indices);
    return {{Byte<0>(words), Byte<1>(words), Byte<2>(words), Byte<3>(words)}};
  }

 private:
  using UintVector = hn::Vec<UintTag>;
  static constexpr int kRegisters = kBits <= 4 ? 1 : 1 << (kBits - 4);

  // Looks up byte kByte of each word. The permutation ignores the bits above it.
  template <int kByte>
  HWY_INLINE FloatVector Byte(UintVector words) const {
    UintVector at = words;
    if constexpr (kByte > 0) at = hn::ShiftRight<8 * kByte>(words);
    return Among<Max(kBits - 4, 0), kByte>(words, hn::Indices512<float>{at.raw}, 0);
  }

  // Looks up in the 2^kLevels registers from `first` on.
  template <int kLevels, int kByte>
  HWY_INLINE FloatVector Among(UintVector words, hn::Indices512<float> at, int first) const {
    if constexpr (kLevels == 0) {
      return hn::TableLookupLanes(registers_[first], at);
    } else if constexpr (kLevels == 1) {
      return hn::TwoTablesLookupLanes(kFloats, registers_[first], registers_[first + 1], at);
    } else {
      const auto bit = hn::Set(kUints, uint32_t{8} << kLevels << 8 * kByte);
      const auto upper = hn::RebindMask(kFloats, hn::TestBit(words, bit));
      const FloatVector low = Among<kLevels - 1, kByte>(words, at, first);
      return hn::IfThenElse(upper, Among<kLevels - 1, kByte>(words, at, first + (1 << (kLevels - 1))), low);
    }
  }

  FloatVector registers_[kRegisters];
};

// Of 64 floats, two registers hold the upper 16 bits of each and two the lower 16 bits. Two permutations find both
// halves of 32 floats, and there is nothing to choose between.
class HalvesFloatTable {
 public:
  HWY_INLINE explicit HalvesFloatTable(const float* centroids) {
    alignas(64) uint16_t upper[64], lower[64];
    for (int i = 0; i < 64; ++i) {
      uint32_t word;
      memcpy(&word, centroids + i, sizeof(word));
      upper[i] = static_cast<uint16_t>(word >> 16);
      lower[i] = static_cast<uint16_t>(word);
    }
    for (int i = 0; i < 2; ++i) {
      upper_[i] = hn::Load(kHalves, upper + 32 * i);
      lower_[i] = hn::Load(kHalves, lower + 32 * i);
    }
  }

  HWY_INLINE FourInputs operator()(ByteVector indices) const {
    const auto even = hn::BitCast(kHalves, indices);  // inputs 0 and 2; the permutation ignores the bits above
    FourInputs found;
    Pair(even, &found.of[0], &found.of[2]);
    Pair(hn::ShiftRight<8>(even), &found.of[1], &found.of[3]);
    return found;
  }

 private:
  using HalfTag = hn::Repartition<uint16_t, FloatTag>;
  using HalfVector = hn::Vec<HalfTag>;
  static constexpr HalfTag kHalves{};

  // Finds the floats for the lower and for the upper index of each word.
  HWY_INLINE void Pair(HalfVector indices, FloatVector* first, FloatVector* second) const {
    const hn::Indices512<uint16_t> at{indices.raw};
    const auto upper = hn::BitCast(kUints, hn::TwoTablesLookupLanes(kHalves, upper_[0], upper_[1], at));
    const auto lower = hn::BitCast(kUints, hn::TwoTablesLookupLanes(kHalves, lower_[0], lower_[1], at));
    const auto low_bits = hn::Set(kUints, uint32_t{0xffff});
    *first = hn::BitCast(kFloats, hn::OrAnd(hn::ShiftLeft<16>(upper), lower, low_bits));
    *second = hn::BitCast(kFloats, hn::BitwiseIfThenElse(low_bits, hn::ShiftRight<16>(lower), upper));
  }

  HalfVector upper_[2], lower_[2];
};

template <int kBits>
struct FloatTableFor {
  using Type = PermutedFloatTable<kBits>;
};
template <>
struct FloatTableFor<6> {
  using Type = HalvesFloatTable;
};
template <int kBits>
using FloatTable = typename FloatTableFor<kBits>::Type;

#elif HWY_TARGET == HWY_SSE2 || !(HWY_ARCH_X86 || HWY_ARCH_ARM_A64)

template <int kBits>
using FloatTable = ScalarFloatTable<kBits>;

#else

#if HWY_ARCH_ARM_A64
template <int kTables>
using PlaneTable = RegisterTable<kTables>;
#else
// Look-up i, by index - 16 * i, gives 0 for indices below 16 * i, because vpshufb does so where the highest bit is set.
// From there on it finds the difference of two neighbouring 16 bytes, and so replaces what look-up i - 1 has found. The
// four planes share the subtractions, which makes this faster than the tree of ByteTable; a single plane is slower.
template <int kTables>
class PlaneTable {
 public:
  static_assert(kTables <= 8, "the highest bit of an index is 0");

  PlaneTable() = default;
  HWY_INLINE explicit PlaneTable(const uint8_t* bytes) {
    for (int i = 0; i < 16 * kTables; ++i) bytes_[i] = i < 16 ? bytes[i] : bytes[i] ^ bytes[i - 16];
  }

  HWY_INLINE ByteVector operator()(ByteVector indices) const {
    ByteVector found = hn::TableLookupBytes(hn::LoadDup128(kBytes, bytes_), indices);
    TFCOMPRESS_UNROLL
    for (int i = 1; i < kTables; ++i) {
      const ByteVector at = hn::Sub(indices, hn::Set(kBytes, static_cast<uint8_t>(16 * i)));
      found = hn::Xor(found, hn::TableLookupBytes(hn::LoadDup128(kBytes, bytes_ + 16 * i), at));
    }
    return found;
  }

 private:
  alignas(64) uint8_t bytes_[16 * kTables];
};
#endif

// Looks up the four bytes of each float separately and interleaves them.
template <int kBits>
class ByteFloatTable {
 public:
  HWY_INLINE explicit ByteFloatTable(const float* centroids) {
    for (int p = 0; p < 4; ++p) {
      alignas(16) uint8_t bytes[16 * kTables] = {};
      for (int i = 0; i < 1 << kBits; ++i) memcpy(bytes + i, reinterpret_cast<const uint8_t*>(centroids + i) + p, 1);
      planes_[p] = PlaneTable<kTables>(bytes);
    }
  }

  HWY_INLINE FourInputs operator()(ByteVector indices) const {
    // Within 16 bytes: from four inputs of each of four outputs to four outputs of each of four inputs.
    alignas(16) static constexpr uint8_t kOrder[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    indices = hn::TableLookupBytes(indices, hn::LoadDup128(kBytes, kOrder));
    const ByteVector plane[4] = {planes_[0](indices), planes_[1](indices), planes_[2](indices), planes_[3](indices)};
    const hn::Repartition<uint16_t, ByteTag> shorts;
    const auto low01 = hn::BitCast(shorts, hn::InterleaveLower(kBytes, plane[0], plane[1]));
    const auto low23 = hn::BitCast(shorts, hn::InterleaveLower(kBytes, plane[2], plane[3]));
    const auto high01 = hn::BitCast(shorts, hn::InterleaveUpper(kBytes, plane[0], plane[1]));
    const auto high23 = hn::BitCast(shorts, hn::InterleaveUpper(kBytes, plane[2], plane[3]));
    return {{hn::BitCast(kFloats, hn::InterleaveLower(shorts, low01, low23)),
             hn::BitCast(kFloats, hn::InterleaveUpper(shorts, low01, low23)),
             hn::BitCast(kFloats, hn::InterleaveLower(shorts, high01, high23)),
             hn::BitCast(kFloats, hn::InterleaveUpper(shorts, high01, high23))}};
  }

 private:
  static constexpr int kTables = kBits < 4 ? 1 : 1 << (kBits - 4);
  PlaneTable<kTables> planes_[4];
};

template <bool kMany, int kBits>
struct FloatTableFor {
  using Type = ByteFloatTable<kBits>;
};
template <int kBits>
struct FloatTableFor<true, kBits> {
  using Type = ScalarFloatTable<kBits>;
};
template <int kBits>
using FloatTable = typename FloatTableFor<(kBits > 6 && !HWY_ARCH_ARM_A64), kBits>::Type;

#endif

}  // namespace
}  // namespace tfcompress
