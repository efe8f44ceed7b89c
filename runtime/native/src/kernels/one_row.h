// Packed dense layers of a single row. Each weight is used only once, so it is multiplied right after it is decoded.
// Most of the time goes into reading the indices.
#pragma once

#include "dense_int8.h"
#include "nibble_dot.h"

namespace tfcompress {
namespace {

// How many bytes ahead indices are fetched into the second-level cache: far enough to hide the latency of memory, and
// few enough to stay in that cache, of 256 KiB or more, until they are used.
constexpr size_t kAhead = 12288;

template <int kBits>
HWY_INLINE void FetchAhead(const uint8_t* block) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(block) + kAhead;  // May be past the end, which is harmless.
  __builtin_prefetch(reinterpret_cast<const void*>(at), 0, 2);
  if (PackedBlockBytes(kBits) > 64) __builtin_prefetch(reinterpret_cast<const void*>(at + 64), 0, 2);
}

HWY_INLINE void FetchNext(Upcoming next) {
  for (size_t i = 0; i < next.bytes && i < kAhead; i += 64) __builtin_prefetch(next.data + i, 0, 2);
}

// Computes row `row` of the task: dot(blocks, n, sums) computes the sums of the 16 outputs from n on, whose packed
// blocks begin at `blocks`.
template <class Dot>
HWY_INLINE void ForOutputsOfRow(const DenseTask& task, int row, const Dot& dot) {
  for (int n = task.begin; n < task.end; n += kTileColumns) {
    alignas(64) float sums[kTileColumns];
    DecodePanel(task, n, [&](const uint8_t* blocks, int c) HWY_ATTR { dot(blocks, n + c, sums + c); });
    if (n + kTileColumns >= task.end) FetchNext(task.next);
    StoreFromStack(sums, 1, OutputOf(task, row, n));
  }
}

// Multiplies a row with the weights of 16 outputs from n on. x is padded to whole packed blocks.
template <int kBits>
HWY_INLINE void FloatDot(const uint8_t* blocks, const FloatTable<kBits>& table, const float* x,
                         const DenseWeights& weights, int n, float* sums) {
  const float* bias = weights.bias + n;
  const float* scale = weights.scale == nullptr ? nullptr : weights.scale + n;
  // Independent chains of additions per vector of sums: an addition need not wait for the one before it to end.
  constexpr int kChains = kHalfVectors <= 2 ? 4 : 2;
  FloatVector chains[kHalfVectors][kChains];
  TFCOMPRESS_UNROLL
  for (int v = 0; v < kHalfVectors; ++v) {
    chains[v][0] = scale == nullptr ? hn::LoadU(kFloats, bias + v * kLanes) : hn::Zero(kFloats);
    TFCOMPRESS_UNROLL
    for (int c = 1; c < kChains; ++c) chains[v][c] = hn::Zero(kFloats);
  }
  for (int k = 0; k < weights.inputs; k += kPackedBlockInputs, blocks += PackedBlockBytes(kBits)) {
    FetchAhead<kBits>(blocks);
    ForIndices<kBits>(blocks, [&](ByteVector indices, int half, int v) HWY_ATTR {
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
HWY_NOINLINE void OneRow(const DenseTask& task) {
  const DenseWeights& weights = task.weights;
  const FloatTable<kBits> table(weights.centroids);
  auto* padded = static_cast<float*>(task.scratch);
  const int whole = RoundUp(weights.inputs, kPackedBlockInputs);
  memcpy(padded, task.x, static_cast<size_t>(weights.inputs) * sizeof(float));
  for (int k = weights.inputs; k < whole; ++k) padded[k] = 0.0f;
  ForOutputsOfRow(task, 0, [&](const uint8_t* blocks, int n, float* sums) HWY_ATTR {
    FloatDot<kBits>(blocks, table, padded, weights, n, sums);
  });
}

// Adds up the products of a quantized row with the weights of 16 outputs.
template <int kBits>
HWY_INLINE void SumWords(const uint8_t* blocks, const ByteTable<kBits>& table, const uint8_t* q, int inputs,
                         IntVector (&sums)[kHalfVectors]) {
  IntVector dots[kHalfVectors][2];
  TFCOMPRESS_UNROLL
  for (int v = 0; v < kHalfVectors; ++v) dots[v][0] = dots[v][1] = hn::Zero(kInts);
  for (int k = 0; k < inputs; k += kPackedBlockInputs, blocks += PackedBlockBytes(kBits)) {
    FetchAhead<kBits>(blocks);
    const QuadWords values[2] = {BroadcastQuad(q + k), BroadcastQuad(q + k + 4)};
    ForWeights<kBits>(blocks, table, [&](SignedByteVector weights, int half, int v) HWY_ATTR {
      const QuadWords words = WeightWords(weights);
      TFCOMPRESS_UNROLL
      for (int w = 0; w < kWords; ++w) dots[v][half] = DotAnyWord(dots[v][half], values[half].of[w], words.of[w]);
    });
  }
  TFCOMPRESS_UNROLL
  for (int v = 0; v < kHalfVectors; ++v) sums[v] = hn::Add(dots[v][0], dots[v][1]);
}

// The same for a row that has been cut into nibbles.
template <int kBits>
HWY_INLINE void SumNibbles(const uint8_t* blocks, const ByteTable<kBits>& table, const uint8_t* low, int inputs,
                           IntVector (&sums)[kHalfVectors]) {
  constexpr int kInputs = kPackedBlockInputs * NibbleSum::kMostQuads / 2;
  const uint8_t* high = low + QuantizedStride(inputs);
  const auto quad = [](const uint8_t* at) HWY_ATTR {
    int32_t found;
    memcpy(&found, at, sizeof found);
    return hn::BitCast(kBytes, hn::Set(kInts, found));
  };
  NibbleSum dots[kHalfVectors];
  for (int begin = 0; begin < inputs; begin += kInputs) {
    const int end = Min(begin + kInputs, inputs);
    for (int k = begin; k < end; k += kPackedBlockInputs, blocks += PackedBlockBytes(kBits)) {
      FetchAhead<kBits>(blocks);
      ForWeights<kBits>(blocks, table, [&](SignedByteVector weights, int half, int v) HWY_ATTR {
        dots[v].Add(quad(low + k + 4 * half), quad(high + k + 4 * half), weights);
      });
    }
    for (NibbleSum& dot : dots) dot.Widen();
  }
  for (int v = 0; v < kHalfVectors; ++v) sums[v] = dots[v].sum();
}

// Like FloatDot, for a quantized row.
template <int kBits>
HWY_INLINE void Int8Dot(const uint8_t* blocks, const ByteTable<kBits>& table, const uint8_t* q, RowScale row,
                        const DenseWeights& weights, int n, float* sums) {
  IntVector whole[kHalfVectors];
  if constexpr (kDotsNibbles) {
    SumNibbles<kBits>(blocks, table, q, weights.inputs, whole);
  } else {
    SumWords<kBits>(blocks, table, q, weights.inputs, whole);
  }
  const FinishInt8<kHalfVectors> floats(weights, n);
  TFCOMPRESS_UNROLL
  for (int v = 0; v < kHalfVectors; ++v) hn::Store(floats(whole[v], row, v), kFloats, sums + v * kLanes);
}

// Computes row `row` of the task.
template <int kBits>
HWY_NOINLINE void OneRowInt8(const DenseTask& task, int row) {
  const DenseWeights& weights = task.weights;
  const ByteTable<kBits> table(weights.centroids8);
  const uint8_t* q = task.q + static_cast<size_t>(row) * static_cast<size_t>(QuantizedStride(weights.inputs));
  if constexpr (kTakenOff != 0 || kDotsNibbles) {
    DenseInt8Space space;
    CutDenseInt8(weights, 1, task.scratch, &space);
    if constexpr (kDotsNibbles) {
      CutIntoNibbles(q, static_cast<size_t>(QuantizedStride(weights.inputs)), space.rows);
    } else {
      ArrangeRows(q, 0, 1, weights.inputs, space.rows);
    }
    q = space.rows;
  }
  const RowScale scale = task.scales[row];
  ForOutputsOfRow(task, row, [&](const uint8_t* blocks, int n, float* sums) HWY_ATTR {
    Int8Dot<kBits>(blocks, table, q, scale, weights, n, sums);
  });
}

}  // namespace
}  // namespace tfcompress
