// Defines the table of kernels of one instruction set, whose name is TFCOMPRESS_SET. Each set has a .cc file that
// includes this one and is compiled with flags for that set.
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

void Dense(const DenseTask& task) {
  WithBits(task.weights.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    if (task.rows == 1) {
      OneRow<kBits>(task);
    } else {
      DensePanels<kBits>(task);
    }
  });
}

// Returns whether a weight may be -128.
bool HasLeastInt8(const DenseWeights& weights) {
  return memchr(weights.centroids8, 128, size_t{1} << weights.bits) != nullptr;
}

void DenseInt8(const DenseTask& task) {
  WithBits(task.weights.bits, [&](auto bits) {
    constexpr int kBits = decltype(bits)::value;
    if (task.rows == 1 || (kWantsSmallWeights && HasLeastInt8(task.weights))) {
      for (int row = 0; row < task.rows; ++row) OneRowInt8<kBits>(task, row);
    } else {
      DenseInt8Panels<kBits>(task);
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
