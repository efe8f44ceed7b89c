// Looks up int8 centroids by index, with the byte look-ups of the instruction set.
#pragma once

#include "unpack.h"

namespace tfcompress {
namespace {

// ByteTable holds the 2^kBits int8 centroids of a layer, ready for look-ups.
#if HWY_TARGET <= HWY_AVX3_DL && HWY_ARCH_X86

// vpermb looks up in 64 bytes, vpermi2b in 128.
template <int kBits>
class ByteTable {
 public:
  HWY_INLINE explicit ByteTable(const int8_t* centroids) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(centroids);
    for (int i = 0; i < kRegisters; ++i) registers_[i] = hn::LoadN(kBytes, bytes + kByteLanes * i, size_t{1} << kBits);
  }

  HWY_INLINE SignedByteVector operator()(ByteVector indices) const {
    const hn::Indices512<uint8_t> at{indices.raw};
    if constexpr (kBits <= 6) return hn::BitCast(kSignedBytes, hn::TableLookupLanes(registers_[0], at));
    ByteVector found = hn::TwoTablesLookupLanes(kBytes, registers_[0], registers_[1], at);
    if constexpr (kBits == 8) {
      const auto upper = hn::TestBit(indices, hn::Set(kBytes, uint8_t{128}));
      found = hn::IfThenElse(upper, hn::TwoTablesLookupLanes(kBytes, registers_[2], registers_[3], at), found);
    }
    return hn::BitCast(kSignedBytes, found);
  }

 private:
  static constexpr int kRegisters = kBits <= 6 ? 1 : 1 << (kBits - 6);
  ByteVector registers_[kBits <= 6 ? 1 : 4];
};

#elif HWY_ARCH_ARM_A64

// Returns table[index] for a table of kRegisters registers, at most 256 bytes. tbl looks up in 64 bytes and returns 0
// if the index is larger; tbx returns what it was given instead.
template <int kRegisters>
class RegisterTable {
 public:
  RegisterTable() = default;
  HWY_INLINE explicit RegisterTable(const uint8_t* bytes) {
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRegisters; ++i) registers_[i] = vld1q_u8(bytes + 16 * i);
  }

  HWY_INLINE ByteVector operator()(ByteVector indices) const {
    const uint8x16_t at = indices.raw;
    if constexpr (kRegisters == 1) return ByteVector(vqtbl1q_u8(registers_[0], at));
    if constexpr (kRegisters == 2) return ByteVector(vqtbl2q_u8({{registers_[0], registers_[1]}}, at));
    if constexpr (kRegisters >= 4) {
      uint8x16_t found = vqtbl4q_u8(Four(0), at);
      TFCOMPRESS_UNROLL
      for (int i = 4; i < kRegisters; i += 4) {
        found = vqtbx4q_u8(found, Four(i), veorq_u8(at, vdupq_n_u8(static_cast<uint8_t>(16 * i))));
      }
      return ByteVector(found);
    }
  }

 private:
  HWY_INLINE uint8x16x4_t Four(int i) const {
    return {{registers_[i], registers_[i + 1], registers_[i + 2], registers_[i + 3]}};
  }

  uint8x16_t registers_[kRegisters];
};

template <int kBits>
class ByteTable {
 public:
  HWY_INLINE explicit ByteTable(const int8_t* centroids) {
    uint8_t bytes[16 * kRegisters] = {};
    memcpy(bytes, centroids, size_t{1} << kBits);
    table_ = RegisterTable<kRegisters>(bytes);
  }

  HWY_INLINE SignedByteVector operator()(ByteVector indices) const {
    return hn::BitCast(kSignedBytes, table_(indices));
  }

 private:
  static constexpr int kRegisters = kBits <= 4 ? 1 : 1 << (kBits - 4);
  RegisterTable<kRegisters> table_;
};

#elif HWY_TARGET == HWY_SSE2 || !HWY_ARCH_X86

// SSE2 has no byte look-up, and what vpshufb does with the bits above the lowest four is used below.
template <int kBits>
class ByteTable {
 public:
  HWY_INLINE explicit ByteTable(const int8_t* centroids) : centroids_(centroids) {}

  HWY_INLINE SignedByteVector operator()(ByteVector indices) const {
    alignas(16) uint8_t at[kByteLanes];
    alignas(16) int8_t found[kByteLanes];
    hn::Store(indices, kBytes, at);
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kByteLanes; ++i) found[i] = centroids_[at[i]];
    return hn::Load(kSignedBytes, found);
  }

 private:
  const int8_t* centroids_;
};

#else

// Returns `high` where bit kBit of the index is set, otherwise `low`.
template <int kBit>
HWY_INLINE ByteVector ChooseByBit(ByteVector indices, ByteVector high, ByteVector low) {
#if HWY_CAP_GE512
  return hn::IfThenElse(hn::TestBit(indices, hn::Set(kBytes, uint8_t{1 << kBit})), high, low);
#else
  // vpblendvb tests the highest bit of each byte itself.
  const hn::Repartition<uint16_t, ByteTag> shorts;
  const auto top = hn::BitCast(kSignedBytes, hn::ShiftLeft<7 - kBit>(hn::BitCast(shorts, indices)));
  const auto chosen = hn::IfNegativeThenElse(top, hn::BitCast(kSignedBytes, high), hn::BitCast(kSignedBytes, low));
  return hn::BitCast(kBytes, chosen);
#endif
}

// Returns table[index] for a table of 16 * kTables bytes: looks up in 16 bytes at a time and chooses between the
// results in a tree. tables(i) returns a vector of the i-th 16 bytes, repeated. `nibbles` are the indices without their
// highest bit; vpshufb ignores the three bits below that one.
template <int kTables, class Tables>
HWY_INLINE ByteVector LookUpTree(const Tables& tables, ByteVector nibbles, ByteVector indices, int first = 0) {
  if constexpr (kTables == 1) {
    return hn::TableLookupBytes(tables(first), nibbles);
  } else {
    constexpr int kBit = kTables == 2 ? 4 : kTables == 4 ? 5 : kTables == 8 ? 6 : 7;
    const ByteVector low = LookUpTree<kTables / 2>(tables, nibbles, indices, first);
    const ByteVector high = LookUpTree<kTables / 2>(tables, nibbles, indices, first + kTables / 2);
    return ChooseByBit<kBit>(indices, high, low);
  }
}

template <int kBits>
class ByteTable {
 public:
  HWY_INLINE explicit ByteTable(const int8_t* centroids) {
    alignas(16) uint8_t bytes[16 * kTables] = {};
    memcpy(bytes, centroids, size_t{1} << kBits);
    for (int i = 0; i < kTables; ++i) tables_[i] = hn::LoadDup128(kBytes, bytes + 16 * i);
  }

  HWY_INLINE SignedByteVector operator()(ByteVector indices) const {
    const auto tables = [this](int i) HWY_ATTR { return tables_[i]; };
    const ByteVector nibbles = kBits < 8 ? indices : hn::And(indices, hn::Set(kBytes, uint8_t{127}));
    return hn::BitCast(kSignedBytes, LookUpTree<kTables>(tables, nibbles, indices));
  }

  // Takes 6 bits. Blends test the highest bit of `tops` where it is.
  HWY_INLINE SignedByteVector operator()(SplitIndices indices) const {
    static_assert(kBits == 6);
    const auto found = [&](int i) HWY_ATTR {
      return hn::BitCast(kSignedBytes, hn::TableLookupBytes(tables_[i], indices.nibbles));
    };
    const auto top = hn::BitCast(kSignedBytes, indices.tops), next = hn::Add(top, top);
    return hn::IfNegativeThenElse(top, hn::IfNegativeThenElse(next, found(3), found(2)),
                                  hn::IfNegativeThenElse(next, found(1), found(0)));
  }

 private:
  static constexpr int kTables = kBits <= 4 ? 1 : 1 << (kBits - 4);
  ByteVector tables_[kTables];
};

#endif

// Calls body(weights, half, vector) for all vectors of a packed block.
template <int kBits, class Body>
HWY_INLINE void ForWeights(const uint8_t* block, const ByteTable<kBits>& table, const Body& body) {
#if HWY_TARGET == HWY_AVX2
  if constexpr (kBits == 6) {
    body(table(SixBits<0, 0>(block)), 0, 0);
    body(table(SixBits<0, 1>(block)), 0, 1);
    body(table(SixBits<1, 0>(block)), 1, 0);
    body(table(SixBits<1, 1>(block)), 1, 1);
    return;
  }
#endif
  ForIndices<kBits>(block, [&](ByteVector indices, int half, int v) HWY_ATTR { body(table(indices), half, v); });
}

}  // namespace
}  // namespace tfcompress
