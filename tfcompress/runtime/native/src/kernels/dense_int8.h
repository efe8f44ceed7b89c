// Clustered dense layers of quantized rows: as dense.h, with int8 centroids.
#pragma once

#include "../kernels.h"
#include "dense.h"
#include "integer_tile.h"
#include "lookup_bytes.h"

namespace tfcompress {
namespace {

// One block of 16 outputs, all inputs, into columns of a panel.
template <int kBits>
HWY_NOINLINE void DecodeWords(const uint8_t* tiles, const ByteTable<kBits>& layer, int inputs, int32_t* panel) {
  const ByteTable<kBits> table = layer;  // A copy may stay in registers.
  constexpr int kQuadColumns = kWords * kTileColumns;
  for (int k = 0; k < inputs; k += kBlockInputs, tiles += TileBytes(kBits), panel += 2 * kQuadColumns) {
    ForIndices<kBits>(tiles, [&](ByteVector indices, int half, int vector) HWY_ATTR {
      const QuadWords words = WeightWords(table(indices));
      int32_t* to = panel + half * kQuadColumns + vector * kLanes;
      TFCOMPRESS_UNROLL
      for (int i = 0; i < kWords; ++i) hn::Store(words.of[i], kInts, to + i * kTileColumns);
    });
  }
}

// Floats of the sums of a tile: scale * row scale * sum + (bias - row zero * offset).
template <int kRows>
HWY_NOINLINE void DenseInt8Tile(const uint8_t* q, size_t stride, const RowScale* rows, const int32_t* panel, int words,
                                const DenseWeights& weights, int n, const TileOutput& to) {
  FloatVector scale[kTileVectors], offset[kTileVectors], bias[kTileVectors];
  TFCOMPRESS_UNROLL
  for (int j = 0; j < kTileVectors; ++j) {
    scale[j] = hn::LoadU(kFloats, weights.scale + n + j * kLanes);
    offset[j] = hn::LoadU(kFloats, weights.offset + n + j * kLanes);
    bias[j] = hn::LoadU(kFloats, weights.bias + n + j * kLanes);
  }
  const auto finish = [&](IntVector sum, int i, int j) HWY_ATTR {
    const FloatVector factor = hn::Mul(hn::Set(kFloats, rows[i].scale), scale[j]);
    const FloatVector start = hn::NegMulAdd(hn::Set(kFloats, rows[i].zero), offset[j], bias[j]);
    return hn::MulAdd(hn::ConvertTo(kFloats, sum), factor, start);
  };
  IntegerTile<kRows>(q, stride, panel, words, nullptr, finish, to);
}

size_t CutDenseInt8(const DenseWeights& weights, int rows, void* scratch, int32_t** panel, uint8_t** wide) {
  Cutter cutter(scratch);
  const auto quads = static_cast<size_t>(RoundUp(weights.inputs, kBlockInputs) / 4);
  *panel = cutter.Take<int32_t>(quads * kWords * kTileColumns);
  const auto bytes = static_cast<size_t>(QuantizedStride(weights.inputs)) * kWords;
  *wide = kWords == 1 ? nullptr : cutter.Take<uint8_t>(static_cast<size_t>(rows) * bytes);
  return cutter.bytes();
}

size_t DenseInt8Scratch(const DenseWeights& weights, int rows) {
  int32_t* panel;
  uint8_t* wide;
  return CutDenseInt8(weights, rows, nullptr, &panel, &wide);
}

template <int kBits>
void DenseInt8Panels(const DenseWeights& weights, const uint8_t* q, const RowScale* scales, int rows, int begin,
                     int end, const float* residual, float* y, void* scratch, Next next) {
  const auto outputs = static_cast<size_t>(weights.outputs);
  const ByteTable<kBits> table(weights.centroids8);
  const int quads = RoundUp(weights.inputs, kBlockInputs) / 4;
  const size_t block = BlockBytes(weights.inputs, kBits);
  const int row_blocks = (rows + kTileRows - 1) / kTileRows;
  int32_t* panel;
  uint8_t* wide;
  CutDenseInt8(weights, rows, scratch, &panel, &wide);
  const auto narrow_stride = static_cast<size_t>(QuantizedStride(weights.inputs));
  const size_t stride = narrow_stride * kWords;
  if (wide != nullptr) {
    for (int i = 0; i < rows; ++i) WidenRow(q + i * narrow_stride, quads, wide + i * stride);
    q = wide;
  }
  for (int n = begin; n < end; n += kTileColumns) {
    const int columns = Min(kTileColumns, end - n);
    for (int b = 0; b * kBlockOutputs < columns; ++b) {
      const uint8_t* tiles = weights.indices + static_cast<size_t>(n / kBlockOutputs + b) * block;
      DecodeWords<kBits>(tiles, table, weights.inputs, panel + b * kBlockOutputs);
    }
    Prefetcher prefetcher(weights, n, kTileColumns, end, next, row_blocks);
    ForRowBlocks(0, rows, [&](int row, int count) HWY_ATTR {
      prefetcher.FetchPiece();
      const size_t at = row * outputs + n;
      const TileOutput to = {y + at, residual == nullptr ? nullptr : residual + at, weights.outputs, columns,
                             weights.activation};
      WithConstant<kTileRows>(count, [&](auto constant) HWY_ATTR {
        DenseInt8Tile<decltype(constant)::value>(q + row * stride, stride, scales + row, panel, quads * kWords, weights,
                                                 n, to);
      });
    });
  }
}

}  // namespace
}  // namespace tfcompress
