// Clustered dense layers in float32: a panel of outputs is decoded into the caches and used for all rows.
#pragma once

#include "lookup_floats.h"
#include "prefetch.h"
#include "tile.h"
#include "unpack.h"

namespace tfcompress {
namespace {

constexpr int kPanelPackedRows = kTileColumns / kPackedBlockOutputs;
static_assert(kTileColumns % kPackedBlockOutputs == 0 && kPadding % kTileColumns == 0, "panels are whole blocks");

// Rows that are this far apart fall into few sets of the first-level cache.
constexpr int kBadStride = 2048;

HWY_INLINE int FloatRowStride(int inputs, int rows) {
  const bool bad = rows > 8 && inputs * static_cast<int>(sizeof(float)) % kBadStride == 0;
  return bad ? inputs + 16 : inputs;
}

// One block of 16 outputs, all inputs, into columns of a panel.
template <int kBits>
HWY_NOINLINE void DecodeFloats(const uint8_t* tiles, const FloatTable<kBits>& layer, int inputs, float* panel) {
  const FloatTable<kBits> table = layer;    // A copy may stay in registers.
  constexpr int kOutputs = kByteLanes / 4;  // of one vector of indices
  for (int k = 0; k < inputs;
       k += kPackedBlockInputs, tiles += PackedBlockBytes(kBits), panel += kPackedBlockInputs * kTileColumns) {
    const auto decode = [&](ByteVector indices, int half, int vector) HWY_ATTR {
      const FourInputs found = table(indices);
      float* to = panel + half * 4 * kTileColumns + vector * kOutputs;
      TFCOMPRESS_UNROLL
      for (int i = 0; i < 4; ++i) hn::Store(found.of[i], kFloats, to + i * kTileColumns);
    };
    ForIndices<kBits>(tiles, decode);
  }
}

size_t CutDense(const DenseWeights& weights, int rows, void* scratch, float** panel, float** copy) {
  Cutter cutter(scratch);
  *panel = cutter.Take<float>(static_cast<size_t>(RoundUp(weights.inputs, kPackedBlockInputs)) * kTileColumns);
  const int stride = FloatRowStride(weights.inputs, rows);
  *copy = stride == weights.inputs ? nullptr : cutter.Take<float>(static_cast<size_t>(rows) * stride);
  return cutter.bytes();
}

size_t DenseScratch(const DenseWeights& weights, int rows) {
  float *panel, *copy;
  return CutDense(weights, rows, nullptr, &panel, &copy);
}

template <int kBits>
void DensePanels(const DenseWeights& weights, const float* x, int rows, int begin, int end, const float* residual,
                 float* y, void* scratch, Upcoming next) {
  const auto inputs = static_cast<size_t>(weights.inputs);
  const auto outputs = static_cast<size_t>(weights.outputs);
  const FloatTable<kBits> table(weights.centroids);
  float *panel, *copy;
  CutDense(weights, rows, scratch, &panel, &copy);
  const auto stride = static_cast<size_t>(FloatRowStride(weights.inputs, rows));
  if (copy != nullptr) {
    for (int i = 0; i < rows; ++i) memcpy(copy + i * stride, x + i * inputs, inputs * sizeof(float));
    x = copy;
  }
  const size_t block = PackedBlockRowBytes(weights.inputs, kBits);
  const int row_blocks = (rows + kTileRows - 1) / kTileRows;
  for (int n = begin; n < end; n += kTileColumns) {
    const int columns = Min(kTileColumns, end - n);
    for (int b = 0; b * kPackedBlockOutputs < columns; ++b) {
      const uint8_t* tiles = weights.indices + static_cast<size_t>(n / kPackedBlockOutputs + b) * block;
      DecodeFloats<kBits>(tiles, table, weights.inputs, panel + b * kPackedBlockOutputs);
    }
    Prefetcher prefetcher(weights, n, end, next, row_blocks);
    ForRowBlocks(0, rows, [&](int row, int count) {
      prefetcher.FetchPiece();
      const size_t at = row * outputs + n;
      TileOutput to = {y + at, residual == nullptr ? nullptr : residual + at, weights.outputs, columns,
                       weights.activation};
      const float* start = weights.bias + n;
      if (weights.scale != nullptr) {
        to.scale = weights.scale + n;
        to.bias = start;
        start = nullptr;
      }
      MultiplyTile(count, x + row * stride, stride, panel, weights.inputs, start, to);
    });
  }
}

}  // namespace
}  // namespace tfcompress
