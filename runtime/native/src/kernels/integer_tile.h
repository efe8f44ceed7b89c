// The int8 register tile: a few rows of words (dot.h) times a panel of columns, summed in registers of int32.
#pragma once

#include "dot.h"
#include "tile.h"

namespace tfcompress {
namespace {

using IntegerTileInput = TileInput<uint8_t, int32_t>;  // `depth` counts words.

// Rows whose sums are in registers at the same time. Arm without dot products also needs registers for 16-bit products:
// 6 rows * 4 = 24 sums, 4 vectors of weights, 1 value and the products of 4 vectors would take 33 of 32 registers, and
// the compiler would spill some in each step. With half of the rows it uses 23.
#if HWY_ARCH_ARM_A64 && !TFCOMPRESS_HAS_LANE_DOT
constexpr int kSumRows = 3;
#else
constexpr int kSumRows = kTileRows;
#endif

// Like FloatTile. finish(sum, row, vector) returns the float that a sum stands for.
template <int kRows, class Finish>
HWY_INLINE void IntegerTile(const IntegerTileInput& in, const Finish& finish, const TileOutput& to) {
  const uint8_t* x = in.x;
  const int32_t *panel = in.panel, *start = in.start;
  const size_t x_stride = in.stride;
  const int words = in.depth;
  if constexpr (kRows > kSumRows) {
    const size_t skipped = size_t{kSumRows} * static_cast<size_t>(to.stride);
    TileOutput below = to;
    below.y += skipped;
    if (to.residual != nullptr) below.residual += skipped;
    const auto finish_below = [&](IntVector sum, int i, int j) HWY_ATTR { return finish(sum, i + kSumRows, j); };
    IntegerTile<kSumRows>(in, finish, to);
    IntegerTile<kRows - kSumRows>({x + kSumRows * x_stride, x_stride, panel, words, start}, finish_below, below);
    return;
  }
  IntVector sums[kRows][kTileVectors];
  TFCOMPRESS_UNROLL
  for (int j = 0; j < kTileVectors; ++j) {
    const IntVector first = start == nullptr ? hn::Zero(kInts) : hn::LoadU(kInts, start + j * kLanes);
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRows; ++i) sums[i][j] = first;
  }
  int word = 0;
#if TFCOMPRESS_HAS_LANE_DOT
  const RowPointers<uint8_t, kRows> at(x, x_stride);
  TFCOMPRESS_DO_NOT_UNROLL
  for (; word + kLanes <= words; word += kLanes, panel += kLanes * kTileColumns) {
    IntVector values[kRows];
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRows; ++i) {
      values[i] = hn::BitCast(kInts, hn::LoadU(kBytes, at.of[i] + 4 * static_cast<size_t>(word)));
    }
    ForLanes([&](auto lane) {
      constexpr int kLane = decltype(lane)::value;
      TFCOMPRESS_UNROLL
      for (int j = 0; j < kTileVectors; ++j) {
        const IntVector weights = hn::Load(kInts, panel + kLane * kTileColumns + j * kLanes);
        TFCOMPRESS_UNROLL
        for (int i = 0; i < kRows; ++i) sums[i][j] = DotLane<kLane>(sums[i][j], values[i], weights);
      }
    });
  }
#endif
  TFCOMPRESS_DO_NOT_UNROLL
  for (; word < words; ++word, panel += kTileColumns) {
    IntVector weights[kTileVectors];
    TFCOMPRESS_UNROLL
    for (int j = 0; j < kTileVectors; ++j) weights[j] = hn::Load(kInts, panel + j * kLanes);
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRows; ++i) {
      int32_t value;
      memcpy(&value, x + i * x_stride + 4 * static_cast<size_t>(word), sizeof value);
      const IntVector values = BroadcastWord(value);
      TFCOMPRESS_UNROLL
      for (int j = 0; j < kTileVectors; ++j) sums[i][j] = DotWord(sums[i][j], values, weights[j]);
    }
  }
  StoreTile<kRows, kTileVectors>([&](int i, int j) HWY_ATTR { return finish(sums[i][j], i, j); }, to);
}

}  // namespace
}  // namespace tfcompress
