// Packed dense layers of quantized rows: like dense.h, with int8 centroids.
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

struct DenseInt8Space {
  int32_t* panel;
  uint8_t* rows;  // as ArrangeRows arranges them; null if they stay as they are
};

size_t CutDenseInt8(const DenseWeights& weights, int rows, void* scratch, DenseInt8Space* space) {
  Cutter cutter(scratch);
  const auto quads = static_cast<size_t>(RoundUp(weights.inputs, kPackedBlockInputs) / 4);
  space->panel = cutter.Take<int32_t>(quads * kWords * kTileColumns);
  const auto bytes = static_cast<size_t>(QuantizedStride(weights.inputs)) * kWords;
  space->rows = kSameRows ? nullptr : cutter.Take<uint8_t>(static_cast<size_t>(RoundUp(rows, 2)) * bytes);
  return cutter.bytes();
}

size_t DenseInt8Scratch(const DenseWeights& weights, int rows) {
  DenseInt8Space space;
  return CutDenseInt8(weights, rows, nullptr, &space);
}

template <int kBits>
void DenseInt8Panels(const DenseTask& task) {
  const DenseWeights& weights = task.weights;
  const ByteTable<kBits> table(weights.centroids8);
  const int quads = RoundUp(weights.inputs, kPackedBlockInputs) / 4;
  DenseInt8Space space;
  CutDenseInt8(weights, task.rows, task.scratch, &space);
  const uint8_t* q = task.q;
  const auto narrow_stride = static_cast<size_t>(QuantizedStride(weights.inputs));
  const size_t stride = narrow_stride * kWords;
  if (space.rows != nullptr) {
    ArrangeRows(q, narrow_stride, task.rows, weights.inputs, space.rows);
    q = space.rows;
  }
  for (int n = task.begin; n < task.end; n += kTileColumns) {
    DecodePanel(task, n, [&](const uint8_t* blocks, int c) HWY_ATTR {
      DecodeInt8<kBits>(blocks, table, weights.inputs, space.panel + c);
    });
    Prefetcher prefetcher(task, n);
    ForInt8TileRows(task.rows, [&](int row, int count) HWY_ATTR {
      prefetcher.FetchPiece();
      const IntegerTileInput in = {q + row * stride, stride, space.panel, quads * kWords, nullptr};
      const TileOutput to = OutputOf(task, row, n);
      WithConstant<kTileRows>(count, [&](auto constant) HWY_ATTR {
        DenseInt8Tile<decltype(constant)::value>(in, task.scales + row, weights, n, to);
      });
    });
  }
}

}  // namespace
}  // namespace tfcompress
