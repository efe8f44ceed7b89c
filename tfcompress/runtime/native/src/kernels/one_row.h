// A dense layer of a single row: every weight is used once, so it is multiplied as it is decoded. What takes time is
// reading the indices.
#pragma once

#include "dense_int8.h"

namespace tfcompress {
namespace {

// Bytes of indices that are fetched, into the second-level cache, before they are needed: what memory delivers in its
// latency.
constexpr size_t kAhead = 12288;

template <int kBits>
HWY_INLINE void FetchAhead(const uint8_t* tile) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(tile) + kAhead;  // It may lie behind the end, which does no harm.
  __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
  if (PackedBlockBytes(kBits) > 64) __builtin_prefetch(reinterpret_cast<const void*>(at + 64), 0, 2);
}

HWY_INLINE void FetchNext(Upcoming next) {
  for (size_t i = 0; i < next.bytes && i < kAhead; i += 64) __builtin_prefetch(next.data + i, 0, 2);
}

// Panels of a row: block(tiles, n, sums) leaves the products of 16 outputs from n on, without activation.
template <int kBits, class Block>
HWY_INLINE void ForBlocksOfRow(const DenseWeights& weights, int begin, int end, const float* residual, float* y,
                               Upcoming next, const Block& block) {
  const size_t block_bytes = PackedBlockRowBytes(weights.inputs, kBits);
  for (int n = begin; n < end; n += kTileColumns) {
    const int columns = Min(kTileColumns, end - n);
    alignas(64) float sums[kTileColumns];
    for (int c = 0; c < columns; c += kPackedBlockOutputs) {
      block(weights.indices + static_cast<size_t>((n + c) / kPackedBlockOutputs) * block_bytes, n + c, sums + c);
    }
    if (n + kTileColumns >= end) FetchNext(next);
    const float* added = residual == nullptr ? nullptr : residual + n;
    StoreFromStack(sums, 1, {y + n, added, weights.outputs, columns, weights.activation});
  }
}

// x: floats up to the inputs rounded up to whole tiles. bias and scale are those of the block; scale may be null.
template <int kBits>
HWY_INLINE void FloatBlock(const uint8_t* tiles, const FloatTable<kBits>& table, const float* x, int inputs,
                           const float* bias, const float* scale, float* sums) {
  constexpr int kChains = kHalfVectors <= 2 ? 4 : 2;  // of additions, so that they need not wait for each other
  FloatVector chains[kHalfVectors][kChains];
  TFCOMPRESS_UNROLL
  for (int v = 0; v < kHalfVectors; ++v) {
    chains[v][0] = scale == nullptr ? hn::LoadU(kFloats, bias + v * kLanes) : hn::Zero(kFloats);
    TFCOMPRESS_UNROLL
    for (int c = 1; c < kChains; ++c) chains[v][c] = hn::Zero(kFloats);
  }
  for (int k = 0; k < inputs; k += kPackedBlockInputs, tiles += PackedBlockBytes(kBits)) {
    FetchAhead<kBits>(tiles);
    ForIndices<kBits>(tiles, [&](ByteVector indices, int half, int v) HWY_ATTR {
      const FourInputs found = table(indices);
      TFCOMPRESS_UNROLL
      for (int i = 0; i < 4; ++i) {
        FloatVector& chain = chains[v][(2 * half + i % 2) % kChains];
        chain = hn::MulAdd(hn::Set(kFloats, x[k + 4 * half + i]), found.of[i], chain);
      }
    });
  }
  TFCOMPRESS_UNROLL
  for (int v = 0; v < kHalfVectors; ++v) {
    FloatVector sum = hn::Add(chains[v][0], chains[v][1]);
    if constexpr (kChains == 4) sum = hn::Add(sum, hn::Add(chains[v][2], chains[v][3]));
    if (scale != nullptr) {
      sum = hn::MulAdd(sum, hn::LoadU(kFloats, scale + v * kLanes), hn::LoadU(kFloats, bias + v * kLanes));
    }
    hn::Store(sum, kFloats, sums + v * kLanes);
  }
}

template <int kBits>
HWY_NOINLINE void OneRow(const DenseWeights& weights, const float* x, int begin, int end, const float* residual,
                         float* y, void* scratch, Upcoming next) {
  const FloatTable<kBits> table(weights.centroids);
  auto* padded = static_cast<float*>(scratch);
  const int whole = RoundUp(weights.inputs, kPackedBlockInputs);
  memcpy(padded, x, static_cast<size_t>(weights.inputs) * sizeof(float));
  for (int k = weights.inputs; k < whole; ++k) padded[k] = 0.0f;
  ForBlocksOfRow<kBits>(weights, begin, end, residual, y, next, [&](const uint8_t* tiles, int n, float* sums) HWY_ATTR {
    const float* scale = weights.scale == nullptr ? nullptr : weights.scale + n;
    FloatBlock<kBits>(tiles, table, padded, weights.inputs, weights.bias + n, scale, sums);
  });
}

template <int kBits>
HWY_INLINE void Int8Block(const uint8_t* tiles, const ByteTable<kBits>& table, const uint8_t* q, RowScale row,
                          const DenseWeights& weights, int n, float* sums) {
  IntVector dots[kHalfVectors][2];
  TFCOMPRESS_UNROLL
  for (int v = 0; v < kHalfVectors; ++v) dots[v][0] = dots[v][1] = hn::Zero(kInts);
  for (int k = 0; k < weights.inputs; k += kPackedBlockInputs, tiles += PackedBlockBytes(kBits)) {
    FetchAhead<kBits>(tiles);
    const QuadWords values[2] = {BroadcastQuad(q + k), BroadcastQuad(q + k + 4)};
    ForIndices<kBits>(tiles, [&](ByteVector indices, int half, int v) HWY_ATTR {
      const QuadWords words = WeightWords(table(indices));
      TFCOMPRESS_UNROLL
      for (int w = 0; w < kWords; ++w) dots[v][half] = DotAnyWord(dots[v][half], values[half].of[w], words.of[w]);
    });
  }
  const FinishInt8<kHalfVectors> floats(weights, n);
  TFCOMPRESS_UNROLL
  for (int v = 0; v < kHalfVectors; ++v) {
    hn::Store(floats(hn::Add(dots[v][0], dots[v][1]), row, v), kFloats, sums + v * kLanes);
  }
}

template <int kBits>
HWY_NOINLINE void OneRowInt8(const DenseWeights& weights, const uint8_t* q, RowScale row, int begin, int end,
                             const float* residual, float* y, void* scratch, Upcoming next) {
  const ByteTable<kBits> table(weights.centroids8);
  if constexpr (kTakenOff != 0) {
    int32_t* panel;
    uint8_t* words;
    CutDenseInt8(weights, 1, scratch, &panel, &words);
    ArrangeRows(q, 0, 1, weights.inputs, words);
    q = words;
  }
  ForBlocksOfRow<kBits>(weights, begin, end, residual, y, next, [&](const uint8_t* tiles, int n, float* sums) HWY_ATTR {
    Int8Block<kBits>(tiles, table, q, row, weights, n, sums);
  });
}

}  // namespace
}  // namespace tfcompress
