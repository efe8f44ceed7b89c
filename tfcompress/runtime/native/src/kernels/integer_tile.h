// The int8 tile: a block of rows of words (dot.h) times a panel of columns, summed in int32 in registers.
#pragma once

#include "dot.h"
#include "tile.h"

namespace tfcompress {
namespace {

#if HWY_ARCH_ARM_A64 && !TFCOMPRESS_HAS_LANE_DOT
constexpr int kSumRows = 3;  // Sums of more leave the products of 8 bits no registers: the compiler would spill.
#else
constexpr int kSumRows = kTileRows;
#endif

// As FloatTile: `words` words a row; panel has kTileColumns of them for each; `start`: kTileColumns sums to begin with,
// or null. finish(sum, row, vector): the float of a sum.
template <int kRows, class Finish>
HWY_INLINE void IntegerTile(const uint8_t* x, size_t x_stride, const int32_t* panel, int words, const int32_t* start,
                            const Finish& finish, const TileOutput& to) {
  if constexpr (kRows > kSumRows) {
    const size_t skipped = size_t{kSumRows} * static_cast<size_t>(to.stride);
    TileOutput below = to;
    below.y += skipped;
    if (to.residual != nullptr) below.residual += skipped;
    const auto finish_below = [&](IntVector sum, int i, int j) HWY_ATTR { return finish(sum, i + kSumRows, j); };
    IntegerTile<kSumRows>(x, x_stride, panel, words, start, finish, to);
    IntegerTile<kRows - kSumRows>(x + kSumRows * x_stride, x_stride, panel, words, start, finish_below, below);
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
