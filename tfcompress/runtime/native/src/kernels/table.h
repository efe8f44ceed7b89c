// Defines the table of one instruction set, TFCOMPRESS_SET: that of the compiler's flags. Each set has a .cc of its
// own, which includes this.
#pragma once

#include "attention.h"
#include "attention_int8.h"
#include "dense.h"
#include "dense_int8.h"
#include "layer_norm.h"
#include "one_row.h"
#include "quantize.h"
#include "tables.h"

namespace tfcompress {
namespace {

void Dense(const DenseWeights& weights, const float* x, int rows, int begin, int end, const float* residual, float* y,
           void* scratch, Upcoming next) {
  WithBits(weights.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    if (rows == 1) {
      OneRow<kBits>(weights, x, begin, end, residual, y, scratch, next);
    } else {
      DensePanels<kBits>(weights, x, rows, begin, end, residual, y, scratch, next);
    }
  });
}

// Whether a weight may be -128.
bool HasLeast(const DenseWeights& weights) {
  return memchr(weights.centroids8, 128, size_t{1} << weights.bits) != nullptr;
}

void DenseInt8(const DenseWeights& weights, const uint8_t* q, const RowScale* scales, int rows, int begin, int end,
               const float* residual, float* y, void* scratch, Upcoming next) {
  WithBits(weights.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    if (rows == 1 || (kWantsSmallWeights && HasLeast(weights))) {
      const auto outputs = static_cast<size_t>(weights.outputs);
      const auto stride = static_cast<size_t>(QuantizedStride(weights.inputs));
      for (int i = 0; i < rows; ++i, q += stride, y += outputs) {
        OneRowInt8<kBits>(weights, q, scales[i], begin, end, residual, y, scratch, next);
        if (residual != nullptr) residual += outputs;
      }
    } else {
      DenseInt8Panels<kBits>(weights, q, scales, rows, begin, end, residual, y, scratch, next);
    }
  });
}

}  // namespace

#define TFCOMPRESS_JOIN_(a, b) a##b
#define TFCOMPRESS_JOIN(a, b) TFCOMPRESS_JOIN_(a, b)
#define TFCOMPRESS_TEXT_(a) #a
#define TFCOMPRESS_TEXT(a) TFCOMPRESS_TEXT_(a)

const Kernels TFCOMPRESS_JOIN(kKernels_, TFCOMPRESS_SET) = {
    TFCOMPRESS_TEXT(TFCOMPRESS_SET),
    kTileColumns,
    DenseScratch,
    Dense,
    QuantizeRows,
    DenseInt8Scratch,
    DenseInt8,
    AttentionScratch,
    Attention,
    Int8AttentionScratch,
    Int8Attention,
    LayerNorm,
};

}  // namespace tfcompress
