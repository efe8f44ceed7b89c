// Panels and rows of int8 dense layers for Arm's i8mm. One of its instructions multiplies eight inputs of two rows with
// eight inputs of two outputs and adds the products to four sums.
#pragma once

#include "finish_int8.h"
#include "integer_tile.h"
#include "lookup_bytes.h"

namespace tfcompress {
namespace {

constexpr bool kSameRows = false;
constexpr int kPairs = kTileColumns / 2;  // pairs of outputs in a panel

// Interleaves pairs of quantized rows: eight bytes of one, then eight bytes of the other. The last row of an odd number
// is paired with zeros.
HWY_INLINE void ArrangeRows(const uint8_t* q, size_t stride, int rows, int, uint8_t* pairs) {
  const hn::Repartition<uint64_t, ByteTag> eights;
  for (int row = 0; row < rows; row += 2, q += 2 * stride, pairs += 2 * stride) {
    for (size_t k = 0; k < stride; k += kByteLanes) {
      const auto first = hn::BitCast(eights, hn::LoadU(kBytes, q + k));
      const auto second = row + 1 < rows ? hn::BitCast(eights, hn::LoadU(kBytes, q + stride + k)) : hn::Zero(eights);
      hn::Store(hn::BitCast(kBytes, hn::InterleaveLower(eights, first, second)), kBytes, pairs + 2 * k);
      hn::Store(hn::BitCast(kBytes, hn::InterleaveUpper(eights, first, second)), kBytes, pairs + 2 * k + kByteLanes);
    }
  }
}

// Decodes a row of packed blocks, 16 outputs and all inputs: eight inputs give kPairs vectors of two outputs each.
template <int kBits>
HWY_NOINLINE void DecodeInt8(const uint8_t* blocks, const ByteTable<kBits>& layer, int inputs, int32_t* panel) {
  static_assert(kTileColumns == kPackedBlockOutputs, "a panel is one row of packed blocks");
  const ByteTable<kBits> table = layer;  // A copy may stay in registers.
  for (int k = 0; k < inputs; k += kPackedBlockInputs, blocks += PackedBlockBytes(kBits), panel += kPairs * kLanes) {
    IntVector quads[2][kHalfVectors];
    ForWeights<kBits>(blocks, table, [&](SignedByteVector weights, int half, int vector) HWY_ATTR {
      quads[half][vector] = hn::BitCast(kInts, weights);
    });
    TFCOMPRESS_UNROLL
    for (int v = 0; v < kHalfVectors; ++v) {
      hn::Store(hn::InterleaveLower(kInts, quads[0][v], quads[1][v]), kInts, panel + 2 * v * kLanes);
      hn::Store(hn::InterleaveUpper(kInts, quads[0][v], quads[1][v]), kInts, panel + (2 * v + 1) * kLanes);
    }
  }
}

// Calls body(first row, rows) for the rows of each register tile. All have kTileRows but the last, so that each begins
// with a pair.
template <class Body>
HWY_INLINE void ForInt8TileRows(int rows, const Body& body) {
  static_assert(kTileRows % 2 == 0, "register tiles begin with a pair of rows");
  for (int row = 0; row < rows; row += kTileRows) body(row, Min(kTileRows, rows - row));
}

// Of the 32 vector registers it takes 3 pairs of rows x 8 pairs of outputs = 24 for sums, 3 for values and at least 1
// for weights.
template <int kRows>
HWY_NOINLINE void DenseInt8Tile(const IntegerTileInput& in, const RowScale* rows, const DenseWeights& weights, int n,
                                const TileOutput& to) {
  constexpr int kRowPairs = (kRows + 1) / 2;
  int32x4_t sums[kRowPairs][kPairs];
  TFCOMPRESS_UNROLL
  for (int i = 0; i < kRowPairs; ++i) {
    TFCOMPRESS_UNROLL
    for (int j = 0; j < kPairs; ++j) sums[i][j] = vdupq_n_s32(0);
  }
  const RowPointers<uint8_t, kRowPairs> pairs(in.x, 2 * in.stride);
  const auto* at = reinterpret_cast<const int8_t*>(in.panel);
  TFCOMPRESS_DO_NOT_UNROLL
  for (int eight = 0; eight < in.depth / 2; ++eight, at += kPairs * kByteLanes) {
    uint8x16_t values[kRowPairs];
    TFCOMPRESS_UNROLL
    for (int i = 0; i < kRowPairs; ++i) values[i] = vld1q_u8(pairs.of[i] + eight * kByteLanes);
    TFCOMPRESS_UNROLL
    for (int j = 0; j < kPairs; ++j) {
      const int8x16_t pair = vld1q_s8(at + j * kByteLanes);
      TFCOMPRESS_UNROLL
      for (int i = 0; i < kRowPairs; ++i) sums[i][j] = vusmmlaq_s32(sums[i][j], values[i], pair);
    }
  }
  const FinishInt8<kTileVectors> floats(weights, n);
  const auto sum = [&](int i, int j) HWY_ATTR {
    const int64x2_t a = vreinterpretq_s64_s32(sums[i / 2][2 * j]), b = vreinterpretq_s64_s32(sums[i / 2][2 * j + 1]);
    const IntVector of_row(vreinterpretq_s32_s64(i % 2 == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b)));
    return floats(of_row, rows[i], j);
  };
  StoreTile<kRows, kTileVectors>(sum, to);
}

}  // namespace
}  // namespace tfcompress
