// Softmax attention of one head with int8 products, in the order of attention.h.
//   q, k    int8 with one scale per token. q is stored plus 128, because dot products take one unsigned operand. Sums
//           begin at -128 times the sum of the key, which corrects that (the kTakenOff of dot.h is already corrected).
//   scores  float32, times log2(e)
//   p       uint8 = round(255 exp2(score - largest score)); their sum is computed before rounding
//   v       int8 with one scale per channel
#pragma once

#include "attention.h"
#include "integer_tile.h"
#include "pack_int8.h"

namespace tfcompress {
namespace {

struct Int8AttentionSpace {
  Int8Keys keys;
  Int8Values values;
  float* bias;     // by token
  float* scores;   // of the query rows of one register tile, like all below
  uint8_t *q, *p;  // rows of words
  uint8_t* bytes;  // a row before it becomes words
};

HWY_INLINE int PaddedTokens(const AttentionShape& shape) { return RoundUp(shape.tokens, kTileColumns); }
HWY_INLINE size_t QueryStride(const AttentionShape& shape) { return kWords * RoundUp(shape.width, kByteLanes); }
HWY_INLINE size_t ProbabilityStride(const AttentionShape& shape) { return kWords * RoundUp(shape.tokens, kByteLanes); }

size_t CutInt8Attention(const AttentionShape& shape, void* scratch, Int8AttentionSpace* space) {
  Cutter cutter(scratch);
  CutInt8Keys(shape.tokens, shape.width, &cutter, &space->keys);
  CutInt8Values(shape.tokens, shape.width, &cutter, &space->values);
  const auto tokens = static_cast<size_t>(PaddedTokens(shape));
  space->bias = cutter.Take<float>(tokens);
  space->scores = cutter.Take<float>(kTileRows * tokens);
  space->q = cutter.Take<uint8_t>(kTileRows * QueryStride(shape));
  space->p = cutter.Take<uint8_t>(kTileRows * ProbabilityStride(shape));
  space->bytes = cutter.Take<uint8_t>(QueryStride(shape) + ProbabilityStride(shape));
  return cutter.bytes();
}

size_t Int8AttentionScratch(const AttentionShape& shape) {
  Int8AttentionSpace space;
  return CutInt8Attention(shape, nullptr, &space);
}

// Converts a row of scores to round(255 exp2(score - largest)). Returns their sums before rounding, by lane.
HWY_INLINE FloatVector ProbabilityBytes(const float* scores, int padded, float largest, uint8_t* p) {
  constexpr float kLog2Of255 = 7.9943534f;
  const FloatVector most = hn::Set(kFloats, largest - kLog2Of255);
  FloatVector sum[2] = {hn::Zero(kFloats), hn::Zero(kFloats)};
  const auto whole = [&](int t, int j) HWY_ATTR {
    const FloatVector e = CoarseExp2(hn::Sub(hn::Load(kFloats, scores + t + j * kLanes), most));
    sum[j % 2] = hn::Add(sum[j % 2], e);
    return Rounded(e);
  };
  int t = 0;
  for (; t + kByteLanes <= padded; t += kByteLanes) {
    hn::StoreU(SaturatedBytes(whole(t, 0), whole(t, 1), whole(t, 2), whole(t, 3)), kBytes, p + t);
  }
  for (; t < padded; t += kLanes) StoreLowBytes(whole(t, 0), p + t);
  return hn::Add(sum[0], sum[1]);
}

// Converts rows of scores to rows of words of probabilities.
HWY_INLINE void Probabilities(const Int8AttentionSpace& space, int rows, int padded, size_t p_stride, float* inverse) {
  float largest[kTileRows];
  LargestScores(space.scores, rows, padded, largest);
  FloatVector sums[kTileRows];
  for (int i = 0; i < rows; ++i) {
    uint8_t* words = space.p + i * p_stride;
    uint8_t* bytes = kSameWords ? words : space.bytes;
    sums[i] = ProbabilityBytes(space.scores + static_cast<size_t>(i) * padded, padded, largest[i], bytes);
    if (!kSameWords) MakeWords(bytes, space.values.quads, words);
  }
  InverseSums(sums, rows, inverse);
}

// Converts rows of queries to rows of words with scales.
HWY_INLINE void QuantizeQueries(const Int8AttentionSpace& space, const float* q, size_t stride, int rows, int width,
                                size_t q_stride, float* scale) {
  float largest[kTileRows];
  for (int i = 0; i < rows; ++i) largest[i] = LargestMagnitude(q + i * stride, width);
  for (int i = 0; i < rows; ++i) {
    uint8_t* words = space.q + i * q_stride;
    uint8_t* bytes = kSameWords ? words : space.bytes;
    scale[i] = QuantizeSymmetric(q + i * stride, width, largest[i], bytes);
    if (!kSameWords) MakeWords(bytes, space.keys.quads, words);
  }
}

// Multiplies kRows query rows with kTileColumns keys from t on.
template <int kRows>
HWY_NOINLINE void ScoreTile(const Int8AttentionSpace& space, size_t q_stride, const float* q_scale, int t,
                            const TileOutput& to) {
  FloatVector key_scale[kTileVectors], bias[kTileVectors];
  TFCOMPRESS_UNROLL
  for (int j = 0; j < kTileVectors; ++j) {
    key_scale[j] = hn::Load(kFloats, space.keys.scale + t + j * kLanes);
    bias[j] = hn::Load(kFloats, space.bias + t + j * kLanes);
  }
  const auto finish = [&](IntVector sum, int i, int j) HWY_ATTR {
    const FloatVector factor = hn::Mul(hn::Set(kFloats, q_scale[i]), key_scale[j]);
    return hn::MulAdd(hn::ConvertTo(kFloats, sum), factor, bias[j]);
  };
  const int words = space.keys.quads * kWords;
  const int32_t* panel = space.keys.panels + static_cast<size_t>(t) * words;
  IntegerTile<kRows>({space.q, q_stride, panel, words, space.keys.start + t}, finish, to);
}

// Multiplies kRows rows of probabilities with kTileColumns channels of values from c on.
template <int kRows>
HWY_NOINLINE void ValueTile(const Int8AttentionSpace& space, size_t p_stride, const float* inverse, int c,
                            const TileOutput& to) {
  FloatVector value_scale[kTileVectors];
  TFCOMPRESS_UNROLL
  for (int j = 0; j < kTileVectors; ++j) value_scale[j] = hn::Load(kFloats, space.values.scale + c + j * kLanes);
  const auto finish = [&](IntVector sum, int i, int j) HWY_ATTR {
    return hn::Mul(hn::ConvertTo(kFloats, sum), hn::Mul(hn::Set(kFloats, inverse[i]), value_scale[j]));
  };
  const int words = space.values.quads * kWords;
  const int32_t* start = space.values.start == nullptr ? nullptr : space.values.start + c;
  const int32_t* panel = space.values.panels + static_cast<size_t>(c) * words;
  IntegerTile<kRows>({space.p, p_stride, panel, words, start}, finish, to);
}

void Int8Attention(const AttentionShape& shape, const AttentionData& data, int head, int begin, int end,
                   void* scratch) {
  const int tokens = shape.tokens, width = shape.width, padded = PaddedTokens(shape);
  const size_t channel = static_cast<size_t>(head) * static_cast<size_t>(width);
  const auto q_row = static_cast<size_t>(shape.q_stride), out_row = static_cast<size_t>(shape.out_stride);
  const size_t q_stride = QueryStride(shape), p_stride = ProbabilityStride(shape);
  Int8AttentionSpace space;
  CutInt8Attention(shape, scratch, &space);
  FillBias(data.mask, tokens, padded, space.bias);
  PackInt8Keys(data.k + channel, static_cast<size_t>(shape.k_stride), tokens, width, shape.scale * kLog2E, space.keys);
  PackInt8Values(data.v + channel, static_cast<size_t>(shape.v_stride), tokens, width, space.values);
  ForTileRows(begin, end, [&](int row, int rows) HWY_ATTR {
    float q_scale[kTileRows], inverse[kTileRows];
    QuantizeQueries(space, data.q + row * q_row + channel, q_row, rows, width, q_stride, q_scale);
    WithConstant<kTileRows>(rows, [&](auto count) HWY_ATTR {
      for (int t = 0; t < padded; t += kTileColumns) {
        ScoreTile<decltype(count)::value>(space, q_stride, q_scale, t,
                                          {space.scores + t, nullptr, padded, kTileColumns, Activation::kNone});
      }
    });
    Probabilities(space, rows, padded, p_stride, inverse);
    float* out = data.out + row * out_row + channel;
    WithConstant<kTileRows>(rows, [&](auto count) HWY_ATTR {
      for (int c = 0; c < width; c += kTileColumns) {
        const int columns = Min(kTileColumns, width - c);
        ValueTile<decltype(count)::value>(space, p_stride, inverse, c,
                                          {out + c, nullptr, shape.out_stride, columns, Activation::kNone});
      }
    });
  });
}

}  // namespace
}  // namespace tfcompress
