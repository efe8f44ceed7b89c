// Quantizes the keys and values of a head to int8 panels for dot products (dot.h), and rows to int8.
#pragma once

#include "dot.h"
#include "rounding.h"
#include "transpose.h"

namespace tfcompress {
namespace {

// Panels of kTileColumns tokens. Each quad of channels has kWords rows of words, with tokens side by side.
struct Int8Keys {
  int quads;        // of channels
  int32_t* panels;  // 0 where there is no token
  float* scale;     // by token
  int32_t* start;   // by token: kTakenOff - 128 times the sum of the key
  uint8_t* rows;    // four quantized keys, plus 128
};

// Panels of kTileColumns channels. Each quad of tokens has kWords rows of words, with channels side by side.
struct Int8Values {
  int quads;        // of tokens
  int32_t* panels;  // 0 where there is no channel
  float* scale;     // by channel
  int32_t* start;   // by channel: kTakenOff times the sum of the values; null if kTakenOff is 0
};

HWY_INLINE void CutInt8Keys(int tokens, int width, Cutter* cutter, Int8Keys* keys) {
  const auto padded = static_cast<size_t>(RoundUp(tokens, kTileColumns));
  keys->quads = (width + 3) / 4;
  keys->panels = cutter->Take<int32_t>(padded * static_cast<size_t>(keys->quads) * kWords);
  keys->scale = cutter->Take<float>(padded);
  keys->start = cutter->Take<int32_t>(padded);
  keys->rows = cutter->Take<uint8_t>(size_t{4} * RoundUp(width, kByteLanes));
}

HWY_INLINE void CutInt8Values(int tokens, int width, Cutter* cutter, Int8Values* values) {
  const auto padded = static_cast<size_t>(RoundUp(width, kTileColumns));
  values->quads = (tokens + 3) / 4;
  values->panels = cutter->Take<int32_t>(padded * static_cast<size_t>(values->quads) * kWords);
  values->scale = cutter->Take<float>(padded);
  values->start = kTakenOff == 0 ? nullptr : cutter->Take<int32_t>(padded);
}

constexpr uint8_t kSignBit = 128;

HWY_INLINE float LargestMagnitude(const float* x, int width) {
  FloatVector most = hn::Zero(kFloats);
  for (int c = 0; c < width; c += kLanes) most = hn::Max(hn::Abs(LoadUpTo(x + c, width - c)), most);
  return hn::ReduceMax(kFloats, most);
}

// Quantizes a row to round(x / scale) + 128 and returns scale = the largest magnitude / 127. Writes `width` rounded up
// to a multiple of kLanes bytes, with 128 after the end.
HWY_INLINE float QuantizeSymmetric(const float* x, int width, float largest, uint8_t* q) {
  const FloatVector factor = hn::Set(kFloats, largest > 0.0f ? 127.0f / largest : 0.0f);
  int c = 0;
  for (; c + kByteLanes <= width; c += kByteLanes) {
    const auto whole = [&](int i)
                           HWY_ATTR { return Rounded(hn::LoadU(kFloats, x + c + i * kLanes), factor, kSignBit); };
    hn::StoreU(SaturatedBytes(whole(0), whole(1), whole(2), whole(3)), kBytes, q + c);
  }
  for (; c < width; c += kLanes) StoreLowBytes(Rounded(LoadUpTo(x + c, width - c), factor, kSignBit), q + c);
  return largest * (1.0f / 127.0f);
}

// Returns the words whose product with another word is the sum of its numbers.
HWY_INLINE QuadWords Ones() { return ActivationWords(hn::Set(kBytes, uint8_t{1 + kTakenOff})); }

// Converts kTileColumns quads, whose sign bits are flipped, to words in place: the quads are in the first of kWords
// rows. Adds their numbers to `sums` by lane.
HWY_INLINE void SplitQuads(int32_t* row, IntVector (&sums)[kTileVectors]) {
  const QuadWords ones = Ones();
  TFCOMPRESS_UNROLL
  for (int j = 0; j < kTileVectors; ++j) {
    int32_t* at = row + j * kLanes;
    const auto quads = hn::Xor(hn::BitCast(kBytes, hn::Load(kInts, at)), hn::Set(kBytes, kSignBit));
    const QuadWords words = WeightWords(hn::BitCast(kSignedBytes, quads));
    TFCOMPRESS_UNROLL
    for (int w = 0; w < kWords; ++w) {
      sums[j] = DotWord(sums[j], ones.of[w], words.of[w]);
      hn::Store(words.of[w], kInts, at + w * kTileColumns);
    }
  }
}

HWY_NOINLINE void PackInt8Keys(const float* k, size_t stride, int tokens, int width, float factor,
                               const Int8Keys& keys) {
  const hn::FixedTag<float, 4> four;
  const hn::Repartition<uint8_t, decltype(four)> bytes;
  const auto row_bytes = static_cast<size_t>(RoundUp(width, kByteLanes));
  constexpr int kRow = kWords * kTileColumns;  // words of a quad in a panel
  for (int first = 0; first < tokens; first += kTileColumns) {
    int32_t* panel = keys.panels + static_cast<size_t>(first) * keys.quads * kWords;
    float largest[kTileColumns];
    const int count = Min(kTileColumns, tokens - first);
    for (int t = 0; t < count; ++t) largest[t] = LargestMagnitude(k + (first + t) * stride, width);
    for (int t = 0; t < kTileColumns; t += 4) {
      for (int i = 0; i < 4; ++i) {
        const int token = first + t + i;
        uint8_t* row = keys.rows + i * row_bytes;
        if (t + i < count) {
          keys.scale[token] = factor * QuantizeSymmetric(k + token * stride, width, largest[t + i], row);
        } else {
          keys.scale[token] = 0.0f;
          memset(row, kSignBit, row_bytes);
        }
      }
      for (int quad = 0; quad < keys.quads; quad += 4) {
        const auto load = [&](int i) HWY_ATTR {
          return hn::BitCast(four, hn::Load(bytes, keys.rows + i * row_bytes + 4 * quad));
        };
        int32_t* to = panel + quad * kRow + t;
        if (quad + 4 <= keys.quads) {
          Transpose4x4(load, reinterpret_cast<float*>(to), kRow);
        } else {
          alignas(16) float rest[16];
          Transpose4x4(load, rest, 4);
          for (int i = 0; i < keys.quads - quad; ++i) memcpy(to + i * kRow, rest + 4 * i, 16);
        }
      }
    }
    IntVector sums[kTileVectors];
    for (IntVector& sum : sums) sum = hn::Zero(kInts);
    for (int quad = 0; quad < keys.quads; ++quad) SplitQuads(panel + quad * kRow, sums);
    for (int j = 0; j < kTileVectors; ++j) {
      const IntVector start = kTakenOff == 128 ? hn::Zero(kInts) : hn::Neg(hn::ShiftLeft<7>(sums[j]));
      hn::Store(start, kInts, keys.start + first + j * kLanes);
    }
  }
}

// Quantizes kLanes channels of four tokens to one quad per channel. Only the first `left` tokens exist.
template <class Load>
HWY_INLINE IntVector Quads(const Load& load, int left, FloatVector factor) {
  IntVector quads = hn::Zero(kInts);
  TFCOMPRESS_UNROLL
  for (int i = 3; i >= 0; --i) {
    const IntVector whole = i < left ? Rounded(load(i), factor) : hn::Zero(kInts);
    quads = hn::Or(hn::ShiftLeft<8>(quads), hn::And(whole, hn::Set(kInts, 255)));
  }
  return quads;
}

HWY_NOINLINE void PackInt8Values(const float* v, size_t stride, int tokens, int width, const Int8Values& values) {
  for (int c = 0; c < RoundUp(width, kTileColumns); c += kLanes) {
    const float* from = v + c;
    FloatVector most = hn::Zero(kFloats);
    for (int t = 0; t < tokens; ++t) most = hn::Max(hn::Abs(LoadUpTo(from + t * stride, width - c)), most);
    hn::Store(hn::Mul(most, hn::Set(kFloats, 1.0f / 127.0f)), kFloats, values.scale + c);
    const auto some = hn::Gt(most, hn::Zero(kFloats));
    const FloatVector factor = hn::IfThenElseZero(some, hn::Div(hn::Set(kFloats, 127.0f), most));
    const size_t panel = static_cast<size_t>(c / kTileColumns) * kTileColumns * values.quads * kWords;
    int32_t* to = values.panels + panel + c % kTileColumns;
    const QuadWords ones = Ones();
    IntVector sum = hn::Zero(kInts);
    for (int t = 0; t < tokens; t += 4, to += kWords * kTileColumns) {
      const auto load = [&](int i) HWY_ATTR { return LoadUpTo(from + (t + i) * stride, width - c); };
      const QuadWords words = WeightWords(hn::BitCast(kSignedBytes, Quads(load, tokens - t, factor)));
      TFCOMPRESS_UNROLL
      for (int w = 0; w < kWords; ++w) hn::Store(words.of[w], kInts, to + w * kTileColumns);
      if constexpr (kTakenOff != 0) sum = DotWord(sum, ones.of[0], words.of[0]);
    }
    if constexpr (kTakenOff != 0) hn::Store(hn::ShiftLeft<7>(sum), kInts, values.start + c);
  }
}

}  // namespace
}  // namespace tfcompress
