// The float register tile: a few rows times a panel of columns, summed in registers. Dense layers, the scores q k^T and
// the products p v of attention share it.
#pragma once

#include "activations.h"

namespace tfcompress {
namespace {

// What a register tile is computed from: rows of x times a panel, `depth` rows of kTileColumns weights that are 64-byte
// aligned. Sums begin at `start`, which has kTileColumns values or is null.
template <class Value, class Weight>
struct TileInput {
  const Value* x;
  size_t stride;  // of x
  const Weight* panel;
  int depth;
  const Weight* start;
};

using FloatTileInput = TileInput<float, float>;

// Where the results of a register tile go: `columns` columns of a matrix with a row stride. Functions that store them
// work on a copy of this struct; otherwise the compiler would have to assume that a store changes it, and would read it
// again after each one.
struct TileOutput {
  float* y;
  const float* residual;  // of the same stride; null, or y itself
  int stride, columns;
  Activation activation;
  // By column, if the results of a float tile are scale * sum + bias; otherwise null.
  const float* scale = nullptr;
  const float* bias = nullptr;
};

template <Activation kActivation>
void StoreActivated(const float* tile, int rows, const TileOutput& output) {
  const TileOutput to = output;
  const bool whole = to.columns >= kTileColumns;
  for (int row = 0; row < rows; ++row) {
    const size_t at = static_cast<size_t>(row) * static_cast<size_t>(to.stride);
    // If this were unrolled, the compiler would interleave many polynomials and spill.
    TFCOMPRESS_DO_NOT_UNROLL
    for (int c = 0; c < kTileColumns; c += 2 * kLanes, tile += 2 * kLanes) {
      FloatVector v[2];
      for (int j = 0; j < 2; ++j) {
        v[j] = Activated<kActivation>(hn::Load(kFloats, tile + j * kLanes));
      }
      for (int j = 0; j < 2; ++j) {
        const int first = c + j * kLanes, left = to.columns - first;
        float* y = to.y + at + first;
        if (whole) {
          if (to.residual != nullptr) v[j] = hn::Add(v[j], hn::LoadU(kFloats, to.residual + at + first));
          hn::StoreU(v[j], kFloats, y);
        } else if (left > 0) {
          if (to.residual != nullptr) v[j] = hn::Add(v[j], LoadFirst(to.residual + at + first, left));
          StoreFirst(v[j], left, y);
        }
      }
    }
  }
}

// Activates and stores finished sums: rows of kTileColumns.
HWY_NOINLINE void StoreFromStack(const float* tile, int rows, const TileOutput& to) {
  switch (to.activation) {
    case Activation::kNone:
      return StoreActivated<Activation::kNone>(tile, rows, to);
    case Activation::kRelu:
      return StoreActivated<Activation::kRelu>(tile, rows, to);
    case Activation::kGelu:
      return StoreActivated<Activation::kGelu>(tile, rows, to);
    case Activation::kGeluTanh:
      return StoreActivated<Activation::kGeluTanh>(tile, rows, to);
    case Activation::kTanh:
      return StoreActivated<Activation::kTanh>(tile, rows, to);
  }
}

// Stores a register tile. sum(i, j) returns the finished vector j of row i; as a function, it finishes each accumulator
// right before it is stored, so that there are never two copies of all of them.
template <int kRows, int kVectors, class Sum>
HWY_INLINE void StoreTile(const Sum& sum, const TileOutput& to) {
  if (to.activation == Activation::kNone && to.columns >= kVectors * kLanes) {
    const auto stride = static_cast<size_t>(to.stride);
    float* const y = to.y;
    const float* const residual = to.residual;
    if (residual == nullptr) {
      TFCOMPRESS_UNROLL
      for (int i = 0; i < kRows; ++i) {
        TFCOMPRESS_UNROLL
        for (int j = 0; j < kVectors; ++j) hn::StoreU(sum(i, j), kFloats, y + i * stride + j * kLanes);
      }
    } else {
      TFCOMPRESS_UNROLL
      for (int i = 0; i < kRows; ++i) {
        TFCOMPRESS_UNROLL
        for (int j = 0; j < kVectors; ++j) {
          const size_t at = i * stride + j * kLanes;
          hn::StoreU(hn::Add(sum(i, j), hn::LoadU(kFloats, residual + at)), kFloats, y + at);
        }
      }
    }
    return;
  }
  // Go through the stack: activating the accumulators directly would spill them around each step.
  alignas(64) float tile[kRows * kTileColumns];
  TFCOMPRESS_UNROLL
  for (int i = 0; i < kRows; ++i) {
    TFCOMPRESS_UNROLL
    for (int j = 0; j < kVectors; ++j) hn::Store(sum(i, j), kFloats, tile + i * kTileColumns + j * kLanes);
  }
  StoreFromStack(tile, kRows, to);
}

// Computes kRows rows and the first kVectors vectors of columns of a panel.
template <int kRows, int kVectors>
HWY_NOINLINE void FloatTile(const FloatTileInput& in, const TileOutput& to) {
  const float *x = in.x, *panel = in.panel, *start = in.start;
  const size_t x_stride = in.stride;
  const int depth = in.depth;
  FloatVector sums[kRows][kVectors];
  TFCOMPRESS_UNROLL
  for (int j = 0; j < kVectors; ++j) {
    const FloatVector first = start == nullptr ? hn::Zero(kFloats) : hn::LoadU(kFloats, start + j * kLanes);
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRows; ++i) sums[i][j] = first;
  }
  int k = 0;
#if HWY_ARCH_ARM_A64
  // Arm multiplies with one lane of a register: load four values of a row at once.
  const RowPointers<float, kRows> at(x, x_stride);
  TFCOMPRESS_DO_NOT_UNROLL
  for (; k + kLanes <= depth; k += kLanes, panel += kLanes * kTileColumns) {
    FloatVector values[kRows];
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRows; ++i) values[i] = hn::LoadU(kFloats, at.of[i] + k);
    ForLanes([&](auto lane) {
      constexpr int kLane = decltype(lane)::value;
      TFCOMPRESS_UNROLL
      for (int j = 0; j < kVectors; ++j) {
        const FloatVector weights = hn::Load(kFloats, panel + kLane * kTileColumns + j * kLanes);
        TFCOMPRESS_UNROLL
        for (int i = 0; i < kRows; ++i) {
          sums[i][j] = FloatVector(vfmaq_laneq_f32(sums[i][j].raw, weights.raw, values[i].raw, kLane));
        }
      }
    });
  }
#endif
  TFCOMPRESS_DO_NOT_UNROLL
  for (; k < depth; ++k, panel += kTileColumns) {
    FloatVector weights[kVectors];
    TFCOMPRESS_UNROLL
    for (int j = 0; j < kVectors; ++j) weights[j] = hn::Load(kFloats, panel + j * kLanes);
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRows; ++i) {
      const FloatVector value = hn::Set(kFloats, x[i * x_stride + k]);
      TFCOMPRESS_UNROLL
      for (int j = 0; j < kVectors; ++j) sums[i][j] = hn::MulAdd(value, weights[j], sums[i][j]);
    }
  }
  if (to.scale != nullptr) {
    TFCOMPRESS_UNROLL
    for (int j = 0; j < kVectors; ++j) {
      const FloatVector scale = hn::LoadU(kFloats, to.scale + j * kLanes);
      const FloatVector bias = hn::LoadU(kFloats, to.bias + j * kLanes);
      TFCOMPRESS_UNROLL
      for (int i = 0; i < kRows; ++i) sums[i][j] = hn::MulAdd(sums[i][j], scale, bias);
    }
  }
  StoreTile<kRows, kVectors>([&sums](int i, int j) { return sums[i][j]; }, to);
}

// Computes `rows` rows, at most kTileRows. If only a few columns are wanted, it computes half of them.
HWY_INLINE void MultiplyTile(int rows, const FloatTileInput& in, const TileOutput& to) {
  WithConstant<kTileRows>(rows, [&](auto count) {
    constexpr int kRows = decltype(count)::value, kFew = kTileVectors / 2;
    if (to.columns <= kFew * kLanes) {
      FloatTile<kRows, kFew>(in, to);
    } else {
      FloatTile<kRows, kTileVectors>(in, to);
    }
  });
}

}  // namespace
}  // namespace tfcompress
