// Converts sums of products of quantized rows to floats: scale * row scale * sum + (bias - row zero * offset).
#pragma once

#include "../kernels.h"
#include "dot.h"

namespace tfcompress {
namespace {

// The row's zero if kTakenOff has been subtracted from its activations.
HWY_INLINE float ZeroOf(RowScale row) { return row.zero - static_cast<float>(kTakenOff) * row.scale; }

// For kVectors vectors of outputs from n on.
template <int kVectors>
class FinishInt8 {
 public:
  HWY_INLINE FinishInt8(const DenseWeights& weights, int n) {
    TFCOMPRESS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      scale_[j] = hn::LoadU(kFloats, weights.scale + n + j * kLanes);
      offset_[j] = hn::LoadU(kFloats, weights.offset + n + j * kLanes);
      bias_[j] = hn::LoadU(kFloats, weights.bias + n + j * kLanes);
    }
  }

  HWY_INLINE FloatVector operator()(IntVector sum, RowScale row, int j) const {
    const FloatVector factor = hn::Mul(hn::Set(kFloats, row.scale), scale_[j]);
    const FloatVector start = hn::NegMulAdd(hn::Set(kFloats, ZeroOf(row)), offset_[j], bias_[j]);
    return hn::MulAdd(hn::ConvertTo(kFloats, sum), factor, start);
  }

 private:
  FloatVector scale_[kVectors], offset_[kVectors], bias_[kVectors];
};

}  // namespace
}  // namespace tfcompress
