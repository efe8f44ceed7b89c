// Softmax attention of one head. The query rows of one register tile at a time are multiplied with all keys; their
// scores become probabilities, which are multiplied with the values. The scores of these few rows stay in the
// first-level cache: for 197 tokens, 14 rows (AVX-512) take 11 KiB and 6 rows 5 KiB. The head's keys (transposed) and
// values are packed into panels, which stay in the second-level cache: 197 tokens of 64 channels take about 50 KiB
// each.
#pragma once

#include "../kernels.h"
#include "tile.h"
#include "transpose.h"

namespace tfcompress {
namespace {

constexpr float kLog2E = 1.44269504f;  // Scores are multiplied with this, so that exp becomes exp2.
constexpr float kNever = -1e30f;       // the score of tokens that only pad a panel

// Packs keys, times `factor`: each panel of kTileColumns tokens is `width` rows of kTileColumns floats, which are zero
// where there is no token.
HWY_NOINLINE void PackKeys(const float* keys, size_t stride, int tokens, int width, float factor, float* panel) {
  const hn::FixedTag<float, 4> four;
  const auto factors = hn::Set(four, factor);
  for (int first = 0; first < tokens; first += kTileColumns, panel += static_cast<size_t>(width) * kTileColumns) {
    const int count = Min(kTileColumns, tokens - first);
    const float* from = keys + first * stride;
    const int whole = count / 4 * 4, whole_width = width / 4 * 4;
    for (int t = 0; t < whole; t += 4) {
      for (int c = 0; c < whole_width; c += 4) {
        const float* four_tokens = from + t * stride + c;
        const auto load = [&](int i) HWY_ATTR { return hn::Mul(hn::LoadU(four, four_tokens + i * stride), factors); };
        Transpose4x4(load, panel + c * kTileColumns + t, kTileColumns);
      }
    }
    for (int c = 0; c < width; ++c) {
      float* row = panel + c * kTileColumns;
      for (int t = c < whole_width ? whole : 0; t < count; ++t) row[t] = from[t * stride + c] * factor;
      for (int t = count; t < kTileColumns; ++t) row[t] = 0.0f;
    }
  }
}

// Packs values: each panel of kTileColumns channels is `tokens` rows of kTileColumns floats, which are zero where there
// is no channel.
HWY_NOINLINE void PackValues(const float* values, size_t stride, int tokens, int width, float* panel) {
  for (int first = 0; first < width; first += kTileColumns) {
    for (int t = 0; t < tokens; ++t, panel += kTileColumns) {
      const float* from = values + t * stride + first;
      TFCOMPRESS_UNROLL
      for (int j = 0; j < kTileVectors; ++j) {
        hn::Store(LoadUpTo(from + j * kLanes, width - first - j * kLanes), kFloats, panel + j * kLanes);
      }
    }
  }
}

// Writes what is added to the scores: the mask, but finite even where the mask is not.
HWY_INLINE void FillBias(const float* mask, int tokens, int padded, float* bias) {
  for (int t = 0; t < tokens; ++t) {
    const float added = mask == nullptr ? 0.0f : mask[t] * kLog2E;
    bias[t] = added < kNever ? kNever : added;
  }
  for (int t = tokens; t < padded; ++t) bias[t] = kNever;
}

// Finds the largest of each of `rows` rows of `padded` scores, a multiple of kLanes. Here and below, all rows go
// through one stage before the next stage begins, so that no row waits for its own horizontal operation.
HWY_INLINE void LargestScores(const float* scores, int rows, int padded, float* largest) {
  for (int i = 0; i < rows; ++i, scores += padded) {
    FloatVector most[2] = {hn::Load(kFloats, scores), hn::Load(kFloats, scores)};
    int t = 0;
    for (; t + 2 * kLanes <= padded; t += 2 * kLanes) {
      most[0] = hn::Max(most[0], hn::Load(kFloats, scores + t));
      most[1] = hn::Max(most[1], hn::Load(kFloats, scores + t + kLanes));
    }
    if (t < padded) most[0] = hn::Max(most[0], hn::Load(kFloats, scores + t));
    largest[i] = hn::ReduceMax(kFloats, hn::Max(most[0], most[1]));
  }
}

// Computes the factor of each row of probabilities: 1 / their sum.
HWY_INLINE void InverseSums(const FloatVector* sums, int rows, float* inverse) {
  for (int i = 0; i < rows; ++i) inverse[i] = 1.0f / hn::ReduceSum(kFloats, sums[i]);
}

// Replaces the scores of each row by exp2(score - largest score).
HWY_INLINE void Exponentiate(float* scores, int rows, int padded, float* inverse) {
  float largest[kTileRows];
  LargestScores(scores, rows, padded, largest);
  FloatVector sums[kTileRows];
  for (int i = 0; i < rows; ++i, scores += padded) {
    const FloatVector most = hn::Set(kFloats, largest[i]);
    FloatVector sum = hn::Zero(kFloats);
    for (int t = 0; t < padded; t += kLanes) {
      const FloatVector e = Exp2(hn::Sub(hn::Load(kFloats, scores + t), most));
      hn::Store(e, kFloats, scores + t);
      sum = hn::Add(sum, e);
    }
    sums[i] = sum;
  }
  InverseSums(sums, rows, inverse);
}

struct AttentionSpace {
  float *keys, *values, *bias, *scores;
};

size_t CutAttention(const AttentionShape& shape, void* scratch, AttentionSpace* space) {
  Cutter cutter(scratch);
  const auto tokens = static_cast<size_t>(shape.tokens), width = static_cast<size_t>(shape.width);
  const auto padded = static_cast<size_t>(RoundUp(shape.tokens, kTileColumns));
  space->keys = cutter.Take<float>(padded * width);
  space->values = cutter.Take<float>(tokens * static_cast<size_t>(RoundUp(shape.width, kTileColumns)));
  space->bias = cutter.Take<float>(padded);
  space->scores = cutter.Take<float>(padded * kTileRows);
  return cutter.bytes();
}

size_t AttentionScratch(const AttentionShape& shape) {
  AttentionSpace space;
  return CutAttention(shape, nullptr, &space);
}

void Attention(const AttentionShape& shape, const AttentionData& data, int head, int begin, int end, void* scratch) {
  const int tokens = shape.tokens, width = shape.width;
  const int padded = RoundUp(tokens, kLanes);  // of a row of scores
  const auto q_stride = static_cast<size_t>(shape.q_stride), out_stride = static_cast<size_t>(shape.out_stride);
  const size_t channel = static_cast<size_t>(head) * static_cast<size_t>(width);
  AttentionSpace space;
  CutAttention(shape, scratch, &space);
  FillBias(data.mask, tokens, RoundUp(tokens, kTileColumns), space.bias);
  PackKeys(data.k + channel, static_cast<size_t>(shape.k_stride), tokens, width, shape.scale * kLog2E, space.keys);
  PackValues(data.v + channel, static_cast<size_t>(shape.v_stride), tokens, width, space.values);
  ForTileRows(begin, end, [&](int row, int rows) HWY_ATTR {
    const float* q = data.q + row * q_stride + channel;
    for (int t = 0; t < padded; t += kTileColumns) {
      const TileOutput scores = {space.scores + t, nullptr, padded, Min(kTileColumns, padded - t), Activation::kNone};
      MultiplyTile(rows, {q, q_stride, space.keys + static_cast<size_t>(t) * width, width, space.bias + t}, scores);
    }
    float inverse[kTileRows];
    Exponentiate(space.scores, rows, padded, inverse);
    float* out = data.out + row * out_stride + channel;
    for (int c = 0; c < width; c += kTileColumns) {
      const TileOutput columns = {out + c, nullptr, shape.out_stride, Min(kTileColumns, width - c), Activation::kNone};
      const float* values = space.values + static_cast<size_t>(c) * tokens;
      MultiplyTile(rows, {space.scores, static_cast<size_t>(padded), values, tokens, nullptr}, columns);
    }
    for (int i = 0; i < rows; ++i) {
      const FloatVector factor = hn::Set(kFloats, inverse[i]);
      for (int c = 0; c < width; c += kLanes) {
        float* at = out + i * out_stride + c;
        StoreUpTo(hn::Mul(LoadUpTo(at, width - c), factor), width - c, at);
      }
    }
  });
}

}  // namespace
}  // namespace tfcompress
