// Packed dense layers in float32: a panel of outputs is decoded into the cache and used for all rows.
#pragma once

#include "lookup_floats.h"
#include "prefetch.h"
#include "tile.h"
#include "unpack.h"

namespace tfcompress {
namespace {

static_assert(kTileColumns % kPackedBlockOutputs == 0, "a panel is whole rows of packed blocks");
static_assert(kPadding % kTileColumns == 0, "a panel may read the padding of arrays by output");

// Rows that are a multiple of this many bytes apart lie in at most 2 of the 64 sets of a first-level cache (32 KiB, 8
// ways, 4096 bytes per way), so that more than 8 of them may evict each other. They are copied to another stride.
constexpr int kBadStride = 2048;

HWY_INLINE int FloatRowStride(int inputs, int rows) {
  const bool bad = rows > 8 && inputs * static_cast<int>(sizeof(float)) % kBadStride == 0;
  return bad ? inputs + 16 : inputs;
}

// Decodes a row of packed blocks, 16 outputs and all inputs, into columns of a panel.
template <int kBits>
HWY_NOINLINE void DecodeFloats(const uint8_t* blocks, const FloatTable<kBits>& layer, int inputs, float* panel) {
  const FloatTable<kBits> table = layer;    // A copy may stay in registers.
  constexpr int kOutputs = kByteLanes / 4;  // of one vector of indices
  for (int k = 0; k < inputs; k += kPackedBlockInputs) {
    const auto decode = [&](ByteVector indices, int half, int vector) HWY_ATTR {
      const FourInputs found = table(indices);
      float* to = panel + half * 4 * kTileColumns + vector * kOutputs;
      TFCOMPRESS_UNROLL
      for (int i = 0; i < 4; ++i) hn::Store(found.of[i], kFloats, to + i * kTileColumns);
    };
    ForIndices<kBits>(blocks, decode);
    blocks += PackedBlockBytes(kBits);
    panel += kPackedBlockInputs * kTileColumns;
  }
}

struct DenseSpace {
  float* panel;
  float* copy;  // of the rows, with another stride; null if that is not needed
};

size_t CutDense(const DenseWeights& weights, int rows, void* scratch, DenseSpace* space) {
  Cutter cutter(scratch);
  space->panel = cutter.Take<float>(static_cast<size_t>(RoundUp(weights.inputs, kPackedBlockInputs)) * kTileColumns);
  const int stride = FloatRowStride(weights.inputs, rows);
  space->copy = stride == weights.inputs ? nullptr : cutter.Take<float>(static_cast<size_t>(rows) * stride);
  return cutter.bytes();
}

size_t DenseScratch(const DenseWeights& weights, int rows) {
  DenseSpace space;
  return CutDense(weights, rows, nullptr, &space);
}

// Where the results of rows from `row` on and of the panel from output `n` on go.
HWY_INLINE TileOutput OutputOf(const DenseTask& task, int row, int n) {
  const size_t at = static_cast<size_t>(row) * static_cast<size_t>(task.weights.outputs) + static_cast<size_t>(n);
  return {task.y + at, task.residual == nullptr ? nullptr : task.residual + at, task.weights.outputs,
          Min(kTileColumns, task.end - n), task.weights.activation};
}

// Calls decode(blocks, c) for each row of packed blocks of the panel from output `n` on; `c` is its first column.
template <class Decode>
HWY_INLINE void DecodePanel(const DenseTask& task, int n, const Decode& decode) {
  const size_t row_bytes = PackedBlockRowBytes(task.weights.inputs, task.weights.bits);
  for (int c = 0; c < Min(kTileColumns, task.end - n); c += kPackedBlockOutputs) {
    decode(task.weights.indices + static_cast<size_t>((n + c) / kPackedBlockOutputs) * row_bytes, c);
  }
}

template <int kBits>
void DensePanels(const DenseTask& task) {
  const DenseWeights& weights = task.weights;
  const auto inputs = static_cast<size_t>(weights.inputs);
  const FloatTable<kBits> table(weights.centroids);
  DenseSpace space;
  CutDense(weights, task.rows, task.scratch, &space);
  const float* x = task.x;
  const auto stride = static_cast<size_t>(FloatRowStride(weights.inputs, task.rows));
  if (space.copy != nullptr) {
    for (int i = 0; i < task.rows; ++i) memcpy(space.copy + i * stride, x + i * inputs, inputs * sizeof(float));
    x = space.copy;
  }
  for (int n = task.begin; n < task.end; n += kTileColumns) {
    DecodePanel(task, n, [&](const uint8_t* blocks, int c) HWY_ATTR {
      DecodeFloats<kBits>(blocks, table, weights.inputs, space.panel + c);
    });
    Prefetcher prefetcher(task, n);
    ForTileRows(0, task.rows, [&](int row, int count) {
      prefetcher.FetchPiece();
      TileOutput to = OutputOf(task, row, n);
      const float* start = weights.bias + n;
      if (weights.scale != nullptr) {
        to.scale = weights.scale + n;
        to.bias = start;
        start = nullptr;
      }
      MultiplyTile(count, {x + row * stride, stride, space.panel, weights.inputs, start}, to);
    });
  }
}

}  // namespace
}  // namespace tfcompress
