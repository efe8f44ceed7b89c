// Layer normalization of rows.
#pragma once

#include <cmath>

#include "simd.h"

namespace tfcompress {
namespace {

// Sums over a row: add(v, sum) returns `sum` with vector v added to it. v is `nothing` after the row's end.
template <class Add>
HWY_INLINE float SumOverRow(const float* x, int width, FloatVector nothing, const Add& add) {
  FloatVector sum[2] = {hn::Zero(kFloats), hn::Zero(kFloats)};
  int k = 0;
  for (; k + 2 * kLanes <= width; k += 2 * kLanes) {
    sum[0] = add(hn::LoadU(kFloats, x + k), sum[0]);
    sum[1] = add(hn::LoadU(kFloats, x + k + kLanes), sum[1]);
  }
  for (; k < width; k += kLanes) {
    const auto inside = hn::FirstN(kFloats, static_cast<size_t>(width - k));
    sum[0] = add(hn::IfThenElse(inside, LoadFirst(x + k, width - k), nothing), sum[0]);
  }
  return hn::ReduceSum(kFloats, hn::Add(sum[0], sum[1]));
}

HWY_INLINE float MeanOfRow(const float* x, int width) {
  // Relative to the first element, so that a row of equal values has exactly that mean.
  const FloatVector first = hn::Set(kFloats, x[0]);
  const float sum = SumOverRow(
      x, width, first, [&](FloatVector v, FloatVector sums) HWY_ATTR { return hn::Add(hn::Sub(v, first), sums); });
  return x[0] + sum / static_cast<float>(width);
}

HWY_INLINE float VarianceOfRow(const float* x, int width, float mean) {
  const FloatVector means = hn::Set(kFloats, mean);
  const float sum = SumOverRow(x, width, means, [&](FloatVector v, FloatVector sums) HWY_ATTR {
    const FloatVector difference = hn::Sub(v, means);
    return hn::MulAdd(difference, difference, sums);
  });
  return sum / static_cast<float>(width);
}

HWY_INLINE void NormalizeRow(const float* x, int width, float mean, float factor, const float* gamma, const float* beta,
                             float* y) {
  const FloatVector means = hn::Set(kFloats, mean), factors = hn::Set(kFloats, factor);
  const auto normalized = [&](FloatVector v, FloatVector g, FloatVector b)
                              HWY_ATTR { return hn::MulAdd(hn::Sub(v, means), hn::Mul(factors, g), b); };
  int k = 0;
  for (; k + kLanes <= width; k += kLanes) {
    const FloatVector g = hn::LoadU(kFloats, gamma + k), b = hn::LoadU(kFloats, beta + k);
    hn::StoreU(normalized(hn::LoadU(kFloats, x + k), g, b), kFloats, y + k);
  }
  if (const int left = width - k; left > 0) {
    const FloatVector g = LoadFirst(gamma + k, left), b = LoadFirst(beta + k, left);
    StoreFirst(normalized(LoadFirst(x + k, left), g, b), left, y + k);
  }
}

void LayerNorm(const float* x, int rows, int width, const float* gamma, const float* beta, float epsilon, float* y) {
  const auto stride = static_cast<size_t>(width);
  for (int row = 0, count; row < rows; row += count, x += count * stride, y += count * stride) {
    count = Min(StageRows(width), rows - row);
    float mean[kStageRows], factor[kStageRows];
    for (int i = 0; i < count; ++i) mean[i] = MeanOfRow(x + i * stride, width);
    for (int i = 0; i < count; ++i) {
      factor[i] = 1.0f / std::sqrt(VarianceOfRow(x + i * stride, width, mean[i]) + epsilon);
    }
    for (int i = 0; i < count; ++i) {
      NormalizeRow(x + i * stride, width, mean[i], factor[i], gamma, beta, y + i * stride);
    }
  }
}

}  // namespace
}  // namespace tfcompress
