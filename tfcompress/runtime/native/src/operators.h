// The operators of a packed file (docs/format.md), read from a TFLite graph. The file is taken for hostile: what this
// returns has been checked, so that nothing behind it reads or writes where it must not.
#pragma once

#include <vector>

#include "format.h"
#include "refusal.h"
#include "shape.h"
#include "tflite_abi.h"

namespace tfcompress {

enum class Kind { kFullyConnected, kEmbedding, kAttention, kLayerNorm };
constexpr int kKinds = 4;

// "tfcompress.Attention"
const char* NameOf(Kind kind);

// Whether `registration` is one of ours, and which.
bool KindOf(const TfLiteRegistration& registration, Kind* kind);

constexpr int kAbsent = -1;
constexpr int kLargestSide = 1 << 24;   // inputs, outputs, width, rows, tokens: so that rounding up stays an int
constexpr int kLargestTable = 1 << 28;  // rows
constexpr int kMostSegments = 16;

// Tensors by their numbers in the graph; kAbsent where the file leaves one out.
struct Segment {
  int indices, codebook, scale, sums, bias;
};

struct Operator {
  Kind kind;
  int node;

  // Those of its kind.
  FullyConnectedOptions dense;
  EmbeddingOptions embedding;
  AttentionOptions attention;
  LayerNormOptions layer_norm;

  std::vector<Segment> segments;  // Dense: options.segments; embedding: one.
  int gamma, beta, width;         // layer norm

  // What is not constant: x and the residual; ids; q, k, v and the mask; x. What is absent is left out.
  std::vector<int> inputs;
  std::vector<int> outputs;
};

// Reads node `number` and checks all that is known before shapes are: options, counts, constants with their types,
// shapes and bytes. The text of a refusal begins with the operator's name.
Refusal ReadOperator(const TfLiteContext& context, int number, const TfLiteNode& node, Kind kind, Operator* found);

// The shape of each output, from those of `inputs`.
Refusal InferShape(const Operator& op, const std::vector<Shape>& inputs, Shape* output);

}  // namespace tfcompress
