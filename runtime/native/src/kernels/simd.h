// Vectors of the instruction set that the kernels are compiled for, and what all kernels do with them. The headers in
// this folder are compiled once per instruction set. Everything in them has internal linkage: of inline functions with
// external linkage, the linker would keep one copy for all sets, which might be the one for AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// A single target, which the compiler's flags determine; nothing of Highway is linked.
#define HWY_COMPILE_ONLY_STATIC
#define HWY_DISABLE_PCLMUL_AES
#define HWY_IS_DEBUG_BUILD 0
#define HWY_NO_LIBCXX
#include "hwy/highway.h"

#if HWY_HAVE_SCALABLE
#error "These kernels need vectors whose size the compiler knows"
#endif

#if defined(__clang__)
#define TFCOMPRESS_UNROLL _Pragma("clang loop unroll(full)")
#define TFCOMPRESS_DO_NOT_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define TFCOMPRESS_UNROLL _Pragma("GCC unroll 64")
#define TFCOMPRESS_DO_NOT_UNROLL _Pragma("GCC unroll 1")
#endif

namespace tfcompress {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::RebindToSigned<FloatTag>;
using UintTag = hn::RebindToUnsigned<FloatTag>;
using ByteTag = hn::Repartition<uint8_t, FloatTag>;
using SignedByteTag = hn::Repartition<int8_t, FloatTag>;
using FloatVector = hn::Vec<FloatTag>;
using IntVector = hn::Vec<IntTag>;
using ByteVector = hn::Vec<ByteTag>;
using SignedByteVector = hn::Vec<SignedByteTag>;

constexpr FloatTag kFloats;
constexpr IntTag kInts;
constexpr UintTag kUints;
constexpr ByteTag kBytes;
constexpr SignedByteTag kSignedBytes;

constexpr int kLanes = HWY_LANES(float);
constexpr int kByteLanes = HWY_LANES(uint8_t);

// The register tile: the part of a matrix product whose sums are held in registers. Each step multiplies kTileVectors
// vectors of weights with one value of each of kTileRows rows.
//
// A vector of weights is loaded once for all rows, so more rows mean fewer loads per product; the number of registers
// limits them. All sizes have at least 12 independent sums, enough for two multiply-add units with a latency of 4 or 5
// cycles. A panel is as wide as the register tile: 16 or 32 outputs, which are one or two rows of packed blocks. With
// 768 inputs, a decoded panel of floats takes 96 KiB (AVX-512) or 48 KiB of the second-level cache; a panel of int8
// takes 24 KiB (AVX-512, or pairs of int16) or 12 KiB of the first-level cache.
#if HWY_CAP_GE512
// AVX-512 has 32 registers: 14 rows * 2 = 28 sums, 2 vectors of weights and 1 value take 31.
constexpr int kTileRows = 14, kTileVectors = 2;
#elif HWY_CAP_GE256
// AVX2 has 16 registers: 6 rows * 2 = 12 sums, 2 vectors of weights and 1 value take 15. The last one is for the
// product of int8 numbers, which only has to be added separately without a dot product.
constexpr int kTileRows = 6, kTileVectors = 2;
#elif HWY_ARCH_ARM_A64
// 64-bit Arm has 32 registers: 6 rows * 4 = 24 sums, 6 vectors of values and 1 vector of weights take 31. There is a
// vector of values for each row because instructions multiply with one lane of it.
constexpr int kTileRows = 6, kTileVectors = 4;
#else
// SSE2 has 16 registers and no multiply-add: 3 rows * 4 = 12 sums, 1 value, 1 product and 1 vector of weights take 15;
// the compiler keeps some of the other 3 vectors of weights on the stack. A fourth row would take 4 more registers.
constexpr int kTileRows = 3, kTileVectors = 4;
#endif
constexpr int kTileColumns = kTileVectors * kLanes;

constexpr int Min(int a, int b) { return a < b ? a : b; }
constexpr int Max(int a, int b) { return a > b ? a : b; }

// max(x, least) and min(x, most), which are NaN if x is. On x86, the result is the second argument if either is NaN.
// Arm has instructions for both behaviours, and Highway uses the other one.
HWY_INLINE FloatVector AtLeast(FloatVector x, float least) {
#if HWY_ARCH_ARM_A64
  return FloatVector(vmaxq_f32(x.raw, vdupq_n_f32(least)));
#else
  return hn::Max(hn::Set(kFloats, least), x);
#endif
}

HWY_INLINE FloatVector AtMost(FloatVector x, float most) {
#if HWY_ARCH_ARM_A64
  return FloatVector(vminq_f32(x.raw, vdupq_n_f32(most)));
#else
  return hn::Min(hn::Set(kFloats, most), x);
#endif
}

// Loads the first `count` lanes, whatever `count` is. The others are zero and are not read.
HWY_INLINE FloatVector LoadFirst(const float* from, int count) {
  return hn::LoadN(kFloats, from, static_cast<size_t>(Max(count, 0)));
}

// Like LoadFirst, where `count` is rarely less than all lanes: a branch costs less than a mask then.
HWY_INLINE FloatVector LoadUpTo(const float* from, int count) {
  return HWY_LIKELY(count >= kLanes) ? hn::LoadU(kFloats, from) : LoadFirst(from, count);
}

HWY_INLINE void StoreFirst(FloatVector v, int count, float* to) {
  hn::StoreN(v, kFloats, to, static_cast<size_t>(Max(count, 0)));
}

HWY_INLINE void StoreUpTo(FloatVector v, int count, float* to) {
  if (HWY_LIKELY(count >= kLanes)) {
    hn::StoreU(v, kFloats, to);
  } else {
    StoreFirst(v, count, to);
  }
}

// An argument whose value the compiler knows.
template <int n>
struct Constant {
  static constexpr int value = n;
};

// Calls body(Constant<rows>) for 1 <= rows <= kMost.
template <int kMost, class Body>
HWY_INLINE void WithConstant(int rows, const Body& body) {
  if constexpr (kMost == 1) {
    body(Constant<1>{});
  } else if (rows == kMost) {
    body(Constant<kMost>{});
  } else {
    WithConstant<kMost - 1>(rows, body);
  }
}

#if HWY_ARCH_ARM_A64
// Pointers to rows. Each has a register of its own, which loads increment. If the compiler knew how the pointers are
// related, it would compute them from each other in each round of a loop.
template <class T, int kRows>
struct RowPointers {
  HWY_INLINE RowPointers(const T* first, size_t stride) {
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRows; ++i) {
      of[i] = first + i * stride;
      asm("" : "+r"(of[i]));
    }
  }

  const T* of[kRows];
};
#endif

// Calls body(Constant<lane>) for the four lanes of a vector of 128 bits.
template <class Body>
HWY_INLINE void ForLanes(const Body& body) {
  body(Constant<0>{});
  body(Constant<1>{});
  body(Constant<2>{});
  body(Constant<3>{});
}

// Calls body(first row, rows) for the rows of each register tile: divides [begin, end) into as few groups of at most
// kTileRows as possible, of nearly equal size.
template <class Body>
HWY_INLINE void ForTileRows(int begin, int end, const Body& body) {
  int left = (end - begin + kTileRows - 1) / kTileRows;
  for (int row = begin; row < end; --left) {
    const int rows = (end - row + left - 1) / left;
    body(row, rows);
    row += rows;
  }
}

// How many rows go through one stage of a kernel before the first of them enters the next stage: enough that no row
// waits for its own horizontal operation (a sum, a maximum), and at most 6144 floats, which are 24 KiB of a first-level
// cache of 32 KiB or more.
constexpr int kStageRows = 8;
HWY_INLINE int StageRows(int width) { return Max(1, Min(kStageRows, 6144 / width)); }

// Divides scratch into arrays that begin at multiples of 64 bytes. Without scratch it only counts the bytes.
class Cutter {
 public:
  explicit Cutter(void* scratch) : at_(static_cast<char*>(scratch)) {}

  template <class T>
  HWY_INLINE T* Take(size_t count) {
    const size_t begin = bytes_;
    bytes_ += (count * sizeof(T) + 63) / 64 * 64;
    return at_ == nullptr ? nullptr : reinterpret_cast<T*>(at_ + begin);
  }

  size_t bytes() const { return bytes_; }

 private:
  char* at_;
  size_t bytes_ = 0;
};

}  // namespace
}  // namespace tfcompress
