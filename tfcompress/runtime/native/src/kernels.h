// What the kernels of an instruction set are given and what they do. One table of functions an instruction set; the
// loader chooses (instruction_sets.h). Kernels trust what they get: everything from a file has been checked before.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.h"

namespace tfcompress {

constexpr int kPadding = 64;  // Arrays by output are zero from the last output to the next multiple of this.

// A clustered dense layer. All but `indices`, which lie in the file, are owned by the layer, 64-byte aligned and
// padded.
struct DenseWeights {
  int inputs, outputs, bits;
  Activation activation;
  const uint8_t* indices;    // docs/format.md
  const float* centroids;    // float32: 2^bits of them, unused ones 0
  const int8_t* centroids8;  // int8: the same
  const float* bias;         // by output; zeros where the file has none
  const float* scale;        // by output; float32: null where the centroids are the weights
  const float* offset;       // int8: by output, scale * sum of the output's centroids
};

// One row of x is scale * q - zero.
struct RowScale {
  float scale, zero;
};

// Bytes that are read next after this layer, fetched while its last panel is computed; may be none.
struct Upcoming {
  const uint8_t* data;
  size_t bytes;
};

// One attention: q, k, v and out are (tokens, heads * width) with row strides in floats; mask: tokens floats that are
// added to every row of scores, or null.
struct AttentionShape {
  int tokens, heads, width;
  int q_stride, k_stride, v_stride, out_stride;
  float scale;
};

struct AttentionData {
  const float *q, *k, *v, *mask;
  float* out;
};

// Scratch is 64-byte aligned, of the size the function beside it says, and belongs to one thread.
struct Kernels {
  const char* name;
  int panel;  // Outputs that are decoded together; `begin` and `end` below are multiples of it, or `end` is the last.

  // y[:, begin:end] = activation(x * weights^T + bias) + residual; x (rows, inputs), y and residual (rows, outputs),
  // residual may be null, and may be y.
  size_t (*dense_scratch)(const DenseWeights& weights, int rows);
  void (*dense)(const DenseWeights& weights, const float* x, int rows, int begin, int end, const float* residual,
                float* y, void* scratch, Upcoming next);

  // Rows to uint8, each padded with zeros to QuantizedStride(inputs) bytes.
  void (*quantize_rows)(const float* x, int rows, int inputs, uint8_t* q, RowScale* scales);
  size_t (*dense_int8_scratch)(const DenseWeights& weights, int rows);
  void (*dense_int8)(const DenseWeights& weights, const uint8_t* q, const RowScale* scales, int rows, int begin,
                     int end, const float* residual, float* y, void* scratch, Upcoming next);

  // One head, query rows [begin, end); out may not overlap q, k or v.
  size_t (*attention_scratch)(const AttentionShape& shape);
  void (*attention)(const AttentionShape& shape, const AttentionData& data, int head, int begin, int end,
                    void* scratch);
  size_t (*attention_int8_scratch)(const AttentionShape& shape);
  void (*attention_int8)(const AttentionShape& shape, const AttentionData& data, int head, int begin, int end,
                         void* scratch);

  // x and y (rows, width); y may be x.
  void (*layer_norm)(const float* x, int rows, int width, const float* gamma, const float* beta, float epsilon,
                     float* y);
};

// Bytes of a quantized row: whole vectors, and never a stride at which rows share few sets of a cache.
static constexpr int QuantizedStride(int inputs) {
  return RoundUp(inputs, 64) + (RoundUp(inputs, 64) % 1024 == 0 ? 64 : 0);
}

}  // namespace tfcompress
