// The constants of an operator as kernels want them: copied, aligned, filled up. Indices alone stay in the file.
#pragma once

#include "aligned.h"
#include "kernels.h"
#include "operators.h"
#include "refusal.h"

namespace tfcompress {

struct DenseLayer {
  DenseWeights weights;  // points into the arrays below
  AlignedArray<float> centroids, bias, scale, offset;
  AlignedArray<int8_t> centroids8;
};

struct EmbeddingTable {
  int rows, width, bits;
  const uint8_t* indices;
  AlignedArray<float> centroids;  // 2^bits, times the scale
};

struct LayerNormWeights {
  AlignedArray<float> gamma, beta;
};

// `op` has been read from `context` (operators.h); what can still be missing is memory.
Refusal MakeDense(const TfLiteContext& context, const Operator& op, const Segment& segment, DenseLayer* layer);
Refusal MakeEmbedding(const TfLiteContext& context, const Operator& op, EmbeddingTable* table);
Refusal MakeLayerNorm(const TfLiteContext& context, const Operator& op, LayerNormWeights* weights);

}  // namespace tfcompress
