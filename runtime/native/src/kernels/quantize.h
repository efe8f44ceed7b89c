// Quantizes rows of activations to uint8, each with its own scale and zero point. The zero point is a whole number, so
// that 0 is exact.
#pragma once

#include <cmath>

#include "../kernels.h"
#include "rounding.h"

namespace tfcompress {
namespace {

struct Range {
  float least, most;
};

// Returns the range of a row and 0.
HWY_INLINE Range RangeOf(const float* x, int count) {
  FloatVector least[4] = {hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats)};
  FloatVector most[4] = {hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats), hn::Zero(kFloats)};
  const auto widen = [&](FloatVector v, int i) HWY_ATTR {
    least[i] = hn::Min(v, least[i]);
    most[i] = hn::Max(v, most[i]);
  };
  int k = 0;
  for (; k + 4 * kLanes <= count; k += 4 * kLanes) {
    widen(hn::LoadU(kFloats, x + k), 0);
    widen(hn::LoadU(kFloats, x + k + kLanes), 1);
    widen(hn::LoadU(kFloats, x + k + 2 * kLanes), 2);
    widen(hn::LoadU(kFloats, x + k + 3 * kLanes), 3);
  }
  for (; k < count; k += kLanes) widen(LoadFirst(x + k, count - k), 0);
  const FloatVector low = hn::Min(hn::Min(least[0], least[1]), hn::Min(least[2], least[3]));
  const FloatVector high = hn::Max(hn::Max(most[0], most[1]), hn::Max(most[2], most[3]));
  return {hn::ReduceMin(kFloats, low), hn::ReduceMax(kFloats, high)};
}

struct RowFactors {
  float factor;  // 1 / scale
  int zero_point;
};

HWY_INLINE RowFactors FactorsOf(Range range, RowScale* row) {
  float scale = (range.most - range.least) * (1.0f / 255.0f);
  if (!(scale > 0.0f)) scale = 1.0f;
  // Only infinities and NaN give anything but 0 to 255.
  const float nearest = std::nearbyint(-range.least / scale);
  const float zero_point = nearest >= 0.0f && nearest <= 255.0f ? nearest : 0.0f;
  *row = {scale, scale * zero_point};
  return {1.0f / scale, static_cast<int>(zero_point)};
}

HWY_INLINE void QuantizeRow(const float* x, int inputs, RowFactors row, uint8_t* q) {
  const FloatVector factor = hn::Set(kFloats, row.factor);
  int k = 0;
  for (; k + kByteLanes <= inputs; k += kByteLanes) {
    const auto at = [&](int i)
                        HWY_ATTR { return Rounded(hn::LoadU(kFloats, x + k + i * kLanes), factor, row.zero_point); };
    hn::StoreU(SaturatedBytes(at(0), at(1), at(2), at(3)), kBytes, q + k);
  }
  for (; k < inputs; k += kLanes) {
    const hn::Rebind<uint8_t, FloatTag> few;
    const IntVector whole = Rounded(LoadFirst(x + k, inputs - k), factor, row.zero_point);
    hn::StoreN(hn::DemoteTo(few, whole), few, q + k, static_cast<size_t>(Min(kLanes, inputs - k)));
  }
}

void QuantizeRows(const float* x, int rows, int inputs, uint8_t* q, RowScale* scales) {
  const auto x_stride = static_cast<size_t>(inputs), q_stride = static_cast<size_t>(QuantizedStride(inputs));
  for (int row = 0, count; row < rows; row += count) {
    count = Min(StageRows(inputs), rows - row);
    RowFactors factors[kStageRows];
    for (int i = 0; i < count; ++i) factors[i] = FactorsOf(RangeOf(x + i * x_stride, inputs), scales + row + i);
    for (int i = 0; i < count; ++i, x += x_stride, q += q_stride) {
      QuantizeRow(x, inputs, factors[i], q);
      memset(q + inputs, 0, q_stride - x_stride);
    }
  }
}

}  // namespace
}  // namespace tfcompress
