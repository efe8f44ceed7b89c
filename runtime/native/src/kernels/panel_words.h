// Panels and rows of int8 dense layers as words for dot products (dot.h).
#pragma once

#include "finish_int8.h"
#include "integer_tile.h"
#include "lookup_bytes.h"

namespace tfcompress {
namespace {

constexpr bool kSameRows = kSameWords;  // Quantized rows can be multiplied as they are.

// Converts quantized rows to rows of words, which are kWords times as far apart.
HWY_INLINE void ArrangeRows(const uint8_t* q, size_t stride, int rows, int inputs, uint8_t* words) {
  const int whole = RoundUp(inputs, kPackedBlockInputs);
  for (int i = 0; i < rows; ++i, q += stride, words += stride * kWords) {
    MakeWords(q, whole / 4, words);
    // The padding after the inputs is multiplied as well, with whatever the last packed blocks have there.
    if constexpr (kTakenOff != 0) memset(words + inputs, 0, static_cast<size_t>(whole - inputs));
  }
}

// Decodes a row of packed blocks, 16 outputs and all inputs, into columns of a panel.
template <int kBits>
HWY_NOINLINE void DecodeInt8(const uint8_t* blocks, const ByteTable<kBits>& layer, int inputs, int32_t* panel) {
  const ByteTable<kBits> table = layer;  // A copy may stay in registers.
  constexpr int kQuadColumns = kWords * kTileColumns;
  for (int k = 0; k < inputs; k += kPackedBlockInputs, blocks += PackedBlockBytes(kBits), panel += 2 * kQuadColumns) {
    ForWeights<kBits>(blocks, table, [&](SignedByteVector weights, int half, int vector) HWY_ATTR {
      const QuadWords words = WeightWords(weights);
      int32_t* to = panel + half * kQuadColumns + vector * kLanes;
      TFCOMPRESS_UNROLL
      for (int i = 0; i < kWords; ++i) hn::Store(words.of[i], kInts, to + i * kTileColumns);
    });
  }
}

// Calls body(first row, rows) for the rows of each register tile.
template <class Body>
HWY_INLINE void ForInt8TileRows(int rows, const Body& body) {
  ForTileRows(0, rows, body);
}

template <int kRows>
HWY_NOINLINE void DenseInt8Tile(const IntegerTileInput& in, const RowScale* rows, const DenseWeights& weights, int n,
                                const TileOutput& to) {
  const FinishInt8<kTileVectors> floats(weights, n);
  const auto finish = [&](IntVector sum, int i, int j) HWY_ATTR { return floats(sum, rows[i], j); };
  IntegerTile<kRows>(in, finish, to);
}

}  // namespace
}  // namespace tfcompress
