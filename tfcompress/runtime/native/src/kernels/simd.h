// What all kernels need of the instruction set they are compiled for. These headers are compiled once for each set of
// compiler flags, and everything in them has internal linkage: the linker would merge inline functions with external
// linkage, and might take the AVX-512 form for everybody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// One target, that of the compiler's flags; nothing of Highway has to be linked.
#define HWY_COMPILE_ONLY_STATIC
#define HWY_DISABLE_PCLMUL_AES
#define HWY_IS_DEBUG_BUILD 0
#define HWY_NO_LIBCXX
#include "hwy/highway.h"

#if HWY_HAVE_SCALABLE
#error "These kernels need vectors of a size known to the compiler"
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

// The tile of a matrix product that is held in registers: accumulators, a row of weights and one broadcast value.
#if HWY_CAP_GE512
constexpr int kTileRows = 14, kTileVectors = 2;
#elif HWY_CAP_GE256
constexpr int kTileRows = 6, kTileVectors = 2;
#elif HWY_ARCH_ARM_A64
constexpr int kTileRows = 6, kTileVectors = 4;
#else
constexpr int kTileRows = 3, kTileVectors = 4;
#endif
constexpr int kTileColumns = kTileVectors * kLanes;

constexpr int Min(int a, int b) { return a < b ? a : b; }
constexpr int Max(int a, int b) { return a > b ? a : b; }

// max(x, least) and min(x, most) that let NaN through. Of x86's two arguments the second is the answer then; Arm has an
// instruction that does, and Highway takes the other.
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

// The first `count` lanes, of any count; the others are zero and are not read.
HWY_INLINE FloatVector LoadFirst(const float* from, int count) {
  return hn::LoadN(kFloats, from, static_cast<size_t>(Max(count, 0)));
}

// The same where mostly all lanes are wanted: a branch costs less than a mask.
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

// A number that is known to the compiler, as an argument.
template <int n>
struct Constant {
  static constexpr int value = n;
};

// body(Constant<rows>) for 1 <= rows <= kMost.
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
// Pointers to rows. Each has a register of its own, which the load itself moves on: the compiler, if it knew how they
// are related, would compute them from each other in every round of a loop.
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

// body(Constant<lane>) for the four lanes of a vector of 128 bits.
template <class Body>
HWY_INLINE void ForLanes(const Body& body) {
  body(Constant<0>{});
  body(Constant<1>{});
  body(Constant<2>{});
  body(Constant<3>{});
}

// body(first row, rows) for [begin, end) cut into the fewest blocks of at most kTileRows, of nearly equal size.
template <class Body>
HWY_INLINE void ForRowBlocks(int begin, int end, const Body& body) {
  int left = (end - begin + kTileRows - 1) / kTileRows;
  for (int row = begin; row < end; --left) {
    const int rows = (end - row + left - 1) / left;
    body(row, rows);
    row += rows;
  }
}

// Rows that go through a stage of a kernel before any of them goes through the next: so many that none waits for the
// horizontal operation (a sum, a largest value) of its own; few enough to stay in the first-level cache.
constexpr int kStageRows = 8;
HWY_INLINE int StageRows(int width) { return Max(1, Min(kStageRows, 6144 / width)); }

// Cuts scratch into arrays that begin at multiples of 64 bytes. Without scratch it only counts.
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
