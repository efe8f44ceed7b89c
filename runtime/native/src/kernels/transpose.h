// Transposes 4 x 4 elements of 32 bits, since keys are packed with tokens side by side.
#pragma once

#include "simd.h"

namespace tfcompress {
namespace {

// load(i) returns row i of four elements, which becomes column i of `to`.
template <class Load>
HWY_INLINE void Transpose4x4(const Load& load, float* to, size_t to_stride) {
  const hn::FixedTag<float, 4> four;
  const auto a = load(0), b = load(1), c = load(2), d = load(3);
  const auto low_ab = hn::InterleaveLower(four, a, b), low_cd = hn::InterleaveLower(four, c, d);
  const auto high_ab = hn::InterleaveUpper(four, a, b), high_cd = hn::InterleaveUpper(four, c, d);
  hn::StoreU(hn::ConcatLowerLower(four, low_cd, low_ab), four, to);
  hn::StoreU(hn::ConcatUpperUpper(four, low_cd, low_ab), four, to + to_stride);
  hn::StoreU(hn::ConcatLowerLower(four, high_cd, high_ab), four, to + 2 * to_stride);
  hn::StoreU(hn::ConcatUpperUpper(four, high_cd, high_ab), four, to + 3 * to_stride);
}

}  // namespace
}  // namespace tfcompress
