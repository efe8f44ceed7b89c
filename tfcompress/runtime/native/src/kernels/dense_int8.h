// Clustered dense layers of quantized rows: as dense.h, with int8 centroids.
#pragma once

#include "../kernels.h"
#include "dense.h"

#if HWY_ARCH_ARM_A64 && defined(__ARM_FEATURE_MATMUL_INT8)
#include "panel_pairs.h"
#else
#include "panel_words.h"
#endif

namespace tfcompress {
namespace {

size_t CutDenseInt8(const DenseWeights& weights, int rows, void* scratch, int32_t** panel, uint8_t** wide) {
  Cutter cutter(scratch);
  const auto quads = static_cast<size_t>(RoundUp(weights.inputs, kPackedBlockInputs) / 4);
  *panel = cutter.Take<int32_t>(quads * kWords * kTileColumns);
  const auto bytes = static_cast<size_t>(QuantizedStride(weights.inputs)) * kWords;
  *wide = kSameRows ? nullptr : cutter.Take<uint8_t>(static_cast<size_t>(RoundUp(rows, 2)) * bytes);
  return cutter.bytes();
}

size_t DenseInt8Scratch(const DenseWeights& weights, int rows) {
  int32_t* panel;
  uint8_t* wide;
  return CutDenseInt8(weights, rows, nullptr, &panel, &wide);
}

template <int kBits>
void DenseInt8Panels(const DenseWeights& weights, const uint8_t* q, const RowScale* scales, int rows, int begin,
                     int end, const float* residual, float* y, void* scratch, Upcoming next) {
  const auto outputs = static_cast<size_t>(weights.outputs);
  const ByteTable<kBits> table(weights.centroids8);
  const int quads = RoundUp(weights.inputs, kPackedBlockInputs) / 4;
  const size_t block = PackedBlockRowBytes(weights.inputs, kBits);
  const int row_blocks = (rows + kTileRows - 1) / kTileRows;
  int32_t* panel;
  uint8_t* wide;
  CutDenseInt8(weights, rows, scratch, &panel, &wide);
  const auto narrow_stride = static_cast<size_t>(QuantizedStride(weights.inputs));
  const size_t stride = narrow_stride * kWords;
  if (wide != nullptr) {
    ArrangeRows(q, narrow_stride, rows, weights.inputs, wide);
    q = wide;
  }
  for (int n = begin; n < end; n += kTileColumns) {
    const int columns = Min(kTileColumns, end - n);
    for (int b = 0; b * kPackedBlockOutputs < columns; ++b) {
      const uint8_t* tiles = weights.indices + static_cast<size_t>(n / kPackedBlockOutputs + b) * block;
      DecodeInt8<kBits>(tiles, table, weights.inputs, panel + b * kPackedBlockOutputs);
    }
    Prefetcher prefetcher(weights, n, end, next, row_blocks);
    ForInt8Blocks(rows, [&](int row, int count) HWY_ATTR {
      prefetcher.FetchPiece();
      const size_t at = row * outputs + n;
      const TileOutput to = {y + at, residual == nullptr ? nullptr : residual + at, weights.outputs, columns,
                             weights.activation};
      WithConstant<kTileRows>(count, [&](auto constant) HWY_ATTR {
        DenseInt8Tile<decltype(constant)::value>(q + row * stride, stride, scales + row, panel, quads, weights, n, to);
      });
    });
  }
}

}  // namespace
}  // namespace tfcompress
