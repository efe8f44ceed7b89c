// The compute kernels: what they are given and what they compute. Each instruction set has one table of them, of which
// instruction_sets.h chooses one at run time. Kernels trust their arguments: what comes from a file has been checked
// before.
//
// Words: a *packed block* is 16 outputs x 8 inputs of packed indices in the file (format.h). A *panel* is the outputs
// that are decoded together. A *register tile* is the rows x columns of results that a kernel holds in registers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.h"

namespace tfcompress {

constexpr int kPadding = 64;  // Arrays by output are padded with zeros to a multiple of this.

// A packed dense layer. Its indices lie in the file; the layer owns the other arrays, which are 64-byte aligned and
// padded.
struct DenseWeights {
  int inputs, outputs, bits;
  Activation activation;
  const uint8_t* indices;    // in packed blocks
  const float* centroids;    // float32: 2^bits of them, 0 if unused
  const int8_t* centroids8;  // int8: likewise
  const float* bias;         // by output; zeros if the file has none
  const float* scale;        // by output; float32: null if the centroids are the weights
  const float* offset;       // int8: by output, scale * the sum of the output's centroids
};

// A row of x is scale * q - zero.
struct RowScale {
  float scale, zero;
};

// Bytes that are read right after a kernel's own, which it fetches into the cache while it finishes. May be none.
struct Upcoming {
  const uint8_t* data;
  size_t bytes;
};

// One call of a dense kernel:
//   y[:, begin:end] = activation(x * weights^T + bias) + residual
// y and residual are (rows, outputs); residual may be null, and may be y.
struct DenseTask {
  const DenseWeights& weights;
  const float* x;          // float32: (rows, inputs)
  const uint8_t* q;        // int8: the rows, as quantize_rows gives them
  const RowScale* scales;  // int8: by row
  int rows;
  int begin, end;  // Outputs: whole panels, of which the last may be cut off by the layer's end.
  const float* residual;
  float* y;
  void* scratch;
  Upcoming next;
};

// One attention: q, k, v and out are (tokens, heads * width) with row strides in floats.
struct AttentionShape {
  int tokens, heads, width;
  int q_stride, k_stride, v_stride, out_stride;
  float scale;
};

// `mask` has one value per token, which is added to each row of scores, or is null. `out` may not overlap q, k or v.
struct AttentionData {
  const float *q, *k, *v, *mask;
  float* out;
};

// Scratch is 64-byte aligned, belongs to one thread, and is as large as the function above a kernel says.
struct Kernels {
  const char* name;
  int panel_outputs;

  size_t (*dense_scratch)(const DenseWeights& weights, int rows);
  void (*dense)(const DenseTask& task);

  // Quantizes rows to uint8. Each is padded with zeros to QuantizedStride(inputs) bytes.
  void (*quantize_rows)(const float* x, int rows, int inputs, uint8_t* q, RowScale* scales);
  size_t (*dense_int8_scratch)(const DenseWeights& weights, int rows);
  void (*dense_int8)(const DenseTask& task);

  // Computes query rows [begin, end) of one head.
  size_t (*attention_scratch)(const AttentionShape& shape);
  void (*attention)(const AttentionShape& shape, const AttentionData& data, int head, int begin, int end,
                    void* scratch);
  size_t (*attention_int8_scratch)(const AttentionShape& shape);
  void (*attention_int8)(const AttentionShape& shape, const AttentionData& data, int head, int begin, int end,
                         void* scratch);

  // x and y are (rows, width); y may be x.
  void (*layer_norm)(const float* x, int rows, int width, const float* gamma, const float* beta, float epsilon,
                     float* y);
};

// Bytes from one quantized row to the next: whole vectors, but not a multiple of 1024, because the rows of a register
// tile would then compete for 4 of the 64 sets of a first-level cache (32 KiB, 8 ways).
static constexpr int QuantizedStride(int inputs) {
  return RoundUp(inputs, 64) + (RoundUp(inputs, 64) % 1024 == 0 ? 64 : 0);
}

}  // namespace tfcompress
