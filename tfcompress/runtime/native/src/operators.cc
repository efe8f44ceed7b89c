#include "operators.h"

#include <cmath>
#include <cstring>

namespace tfcompress {
namespace {

constexpr const char* kNames[kKinds] = {"tfcompress.ClusteredFullyConnected", "tfcompress.ClusteredEmbedding",
                                        "tfcompress.Attention", "tfcompress.LayerNorm"};
constexpr int kDenseConstants = 6;      // of a segment
constexpr int kEmbeddingConstants = 4;  // indices, codebook, scale, original

Refusal Named(const Operator& op, const Refusal& refusal) {
  return Refuse("%s (node %d): %s", NameOf(op.kind), op.node, refusal.text.c_str());
}

Refusal CheckRange(const char* what, uint32_t value, uint32_t least, uint32_t most) {
  if (value >= least && value <= most) return {};
  return Refuse("option %s is %u; needed is %u to %u", what, value, least, most);
}

// Copies the options, which may lie anywhere in the file, if their version and size are right.
template <typename Options>
Refusal ReadOptions(const TfLiteNode& node, Options* options) {
  const int size = node.custom_initial_data == nullptr ? 0 : node.custom_initial_data_size;
  uint32_t version = 0;
  if (size >= static_cast<int>(sizeof(version))) memcpy(&version, node.custom_initial_data, sizeof(version));
  if (version != kFormatVersion) {
    return Refuse("the options have version %u in %d bytes; this runtime reads version %u: pack the file again",
                  version, size, kFormatVersion);
  }
  if (size != static_cast<int>(sizeof(Options))) {
    return Refuse("the options have %d bytes; needed are %zu", size, sizeof(Options));
  }
  memcpy(options, node.custom_initial_data, sizeof(Options));
  return {};
}

const TfLiteTensor* TensorAt(const TfLiteContext& context, int tensor) {
  if (tensor < 0 || static_cast<size_t>(tensor) >= context.tensors_size) return nullptr;
  return &context.tensors[tensor];
}

// A vector of `count` values of `type` that lies in the file.
Refusal CheckConstant(const TfLiteContext& context, int number, const char* what, int type, size_t count) {
  const TfLiteTensor* tensor = TensorAt(context, number);
  if (tensor == nullptr) {
    return Refuse("%s are missing (tensor %d); needed are %s (%zu)", what, number, TypeText(type).c_str(), count);
  }
  const bool constant = tensor->allocation_type == kTfLiteMmapRo || tensor->allocation_type == kTfLitePersistentRo;
  if (!constant || tensor->data == nullptr) return Refuse("%s (tensor %d) are no constant of the file", what, number);
  const Shape shape = ShapeOf(*tensor);
  const bool same =
      tensor->type == type && shape.size() == 1 && shape[0] >= 0 && static_cast<size_t>(shape[0]) == count;
  if (!same || tensor->bytes != count * TypeBytes(type) || tensor->sparsity != nullptr) {
    return Refuse("%s (tensor %d) are %s in %zu bytes; needed are %s (%zu)", what, number, TextOf(*tensor).c_str(),
                  tensor->bytes, TypeText(type).c_str(), count);
  }
  return {};
}

// What is computed at run time, or may be; an output must not lie in the file, which is mapped read-only.
Refusal CheckActivation(const TfLiteContext& context, int number, const char* what, int type, bool output) {
  const TfLiteTensor* tensor = TensorAt(context, number);
  if (tensor == nullptr) return Refuse("%s is missing (tensor %d)", what, number);
  if (tensor->type != type || tensor->sparsity != nullptr) {
    return Refuse("%s (tensor %d) is %s%s; needed is %s", what, number, tensor->sparsity != nullptr ? "sparse " : "",
                  TypeText(tensor->type).c_str(), TypeText(type).c_str());
  }
  const bool constant = tensor->allocation_type == kTfLiteMmapRo || tensor->allocation_type == kTfLitePersistentRo;
  if (output && constant) return Refuse("%s (tensor %d) is a constant, which nothing may be written to", what, number);
  return {};
}

// Indices, codebook and scale, of all or of each of `outputs`; an int8 codebook if `int8` wants one.
Refusal CheckCodebook(const TfLiteContext& context, const Segment& segment, size_t bytes, int bits, bool int8,
                      size_t outputs) {
  if (Refusal why = CheckConstant(context, segment.indices, "indices", kTfLiteUInt8, bytes)) return why;
  const TfLiteTensor* codebook = TensorAt(context, segment.codebook);
  if (codebook == nullptr) return Refuse("the codebook is missing (tensor %d)", segment.codebook);
  const Shape shape = ShapeOf(*codebook);
  if (shape.size() != 1 || shape[0] < 1 || shape[0] > 1 << bits) {
    return Refuse("the codebook (tensor %d) is %s; needed are 1 to %d centroids", segment.codebook,
                  TextOf(*codebook).c_str(), 1 << bits);
  }
  const bool int8_codebook = int8 || codebook->type == kTfLiteInt8;
  const int type = int8_codebook ? kTfLiteInt8 : kTfLiteFloat32;
  if (Refusal why = CheckConstant(context, segment.codebook, "centroids", type, static_cast<size_t>(shape[0])))
    return why;
  if (!int8_codebook) {
    if (segment.scale == kAbsent) return {};
    return Refuse("there is a scale (tensor %d), which float32 centroids do not have", segment.scale);
  }
  const TfLiteTensor* scale = TensorAt(context, segment.scale);
  const bool one = scale == nullptr || ShapeOf(*scale) == Shape{1};
  return CheckConstant(context, segment.scale, "scales", kTfLiteFloat32, one ? 1 : outputs);
}

Refusal CheckCounts(const TfLiteNode& node, int least_inputs, int most_inputs, int outputs) {
  const int found_inputs = node.inputs == nullptr ? 0 : node.inputs->size;
  const int found_outputs = node.outputs == nullptr ? 0 : node.outputs->size;
  if (found_inputs >= least_inputs && found_inputs <= most_inputs && found_outputs == outputs) return {};
  return Refuse("there are %d inputs and %d outputs; needed are %d to %d inputs and %d outputs", found_inputs,
                found_outputs, least_inputs, most_inputs, outputs);
}

Refusal ReadFullyConnected(const TfLiteContext& context, const TfLiteNode& node, Operator* op) {
  FullyConnectedOptions& options = op->dense;
  if (Refusal why = ReadOptions(node, &options)) return why;
  if (Refusal why = CheckRange("inputs", options.inputs, 1, kLargestSide)) return why;
  if (Refusal why = CheckRange("outputs", options.outputs, 1, kLargestSide)) return why;
  if (Refusal why = CheckRange("bits", options.bits, 2, 8)) return why;
  if (Refusal why = CheckRange("computing", options.computing, 0, 1)) return why;
  if (Refusal why = CheckRange("activation", options.activation, 0, 4)) return why;
  if (Refusal why = CheckRange("segments", options.segments, 1, kMostSegments)) return why;
  if (Refusal why = CheckRange("residual", options.residual, 0, 1)) return why;
  const int segments = static_cast<int>(options.segments), bits = static_cast<int>(options.bits);
  const int needed = 1 + kDenseConstants * segments + static_cast<int>(options.residual);
  if (Refusal why = CheckCounts(node, needed, needed, segments)) return why;
  const bool int8 = options.computing == static_cast<uint32_t>(Computing::kInt8);
  const size_t outputs = options.outputs;
  const size_t bytes = MatrixBytes(static_cast<int>(options.outputs), static_cast<int>(options.inputs), bits);
  op->inputs.push_back(node.inputs->data[0]);
  for (int s = 0; s < segments; ++s) {
    const int* tensors = node.inputs->data + 1 + kDenseConstants * s;
    const Segment segment{tensors[0], tensors[1], tensors[2], tensors[3], tensors[4]};
    if (Refusal why = CheckCodebook(context, segment, bytes, bits, int8, outputs)) return why;
    if (int8) {
      if (Refusal why = CheckConstant(context, segment.sums, "sums", kTfLiteInt32, outputs)) return why;
    }
    if (segment.bias != kAbsent) {
      if (Refusal why = CheckConstant(context, segment.bias, "biases", kTfLiteFloat32, outputs)) return why;
    }
    op->segments.push_back(segment);
  }
  if (options.residual != 0) op->inputs.push_back(node.inputs->data[needed - 1]);
  return {};
}

Refusal ReadEmbedding(const TfLiteContext& context, const TfLiteNode& node, Operator* op) {
  const EmbeddingOptions& options = op->embedding;
  if (Refusal why = ReadOptions(node, &op->embedding)) return why;
  if (Refusal why = CheckRange("rows", options.rows, 1, kLargestTable)) return why;
  if (Refusal why = CheckRange("width", options.width, 1, kLargestSide)) return why;
  if (Refusal why = CheckRange("bits", options.bits, 2, 8)) return why;
  if (Refusal why = CheckCounts(node, 1 + kEmbeddingConstants, 1 + kEmbeddingConstants, 1)) return why;
  const int* tensors = node.inputs->data;
  op->inputs.push_back(tensors[0]);
  op->segments.push_back({tensors[1], tensors[2], tensors[3], kAbsent, kAbsent});
  const int bits = static_cast<int>(options.bits);
  const size_t bytes = options.rows * RowBytes(static_cast<int>(options.width), bits);
  return CheckCodebook(context, op->segments[0], bytes, bits, false, 1);
}

Refusal ReadAttention(const TfLiteNode& node, Operator* op) {
  const AttentionOptions& options = op->attention;
  if (Refusal why = ReadOptions(node, &op->attention)) return why;
  if (Refusal why = CheckRange("heads", options.heads, 1, kLargestSide)) return why;
  if (Refusal why = CheckRange("computing", options.computing, 0, 1)) return why;
  if (!std::isfinite(options.scale)) return Refuse("option scale is not finite");
  if (Refusal why = CheckCounts(node, 3, 4, 1)) return why;
  for (int i = 0; i < node.inputs->size; ++i) {
    const int tensor = node.inputs->data[i];
    if (i < 3 || tensor != kAbsent) op->inputs.push_back(tensor);
  }
  return {};
}

Refusal ReadLayerNorm(const TfLiteContext& context, const TfLiteNode& node, Operator* op) {
  const LayerNormOptions& options = op->layer_norm;
  if (Refusal why = ReadOptions(node, &op->layer_norm)) return why;
  if (!(options.epsilon >= 0 && std::isfinite(options.epsilon))) {
    return Refuse("option epsilon is %g; needed is a finite number from 0", static_cast<double>(options.epsilon));
  }
  if (Refusal why = CheckCounts(node, 3, 3, 1)) return why;
  op->inputs.push_back(node.inputs->data[0]);
  op->gamma = node.inputs->data[1];
  op->beta = node.inputs->data[2];
  const TfLiteTensor* gamma = TensorAt(context, op->gamma);
  const Shape shape = gamma == nullptr ? Shape{} : ShapeOf(*gamma);
  if (shape.size() != 1 || shape[0] < 1 || shape[0] > kLargestSide) {
    return Refuse("gamma (tensor %d) is %s; needed are 1 to %d values", op->gamma, TextOf(shape).c_str(), kLargestSide);
  }
  op->width = shape[0];
  const auto width = static_cast<size_t>(shape[0]);
  if (Refusal why = CheckConstant(context, op->gamma, "gammas", kTfLiteFloat32, width)) return why;
  return CheckConstant(context, op->beta, "betas", kTfLiteFloat32, width);
}

Refusal CheckActivations(const TfLiteContext& context, const Operator& op) {
  for (int tensor : op.inputs) {
    const int type = op.kind == Kind::kEmbedding ? kTfLiteInt32 : kTfLiteFloat32;
    if (Refusal why = CheckActivation(context, tensor, "an input", type, false)) return why;
  }
  for (int tensor : op.outputs) {
    if (Refusal why = CheckActivation(context, tensor, "an output", kTfLiteFloat32, true)) return why;
  }
  return {};
}

// x must be (..., width).
Refusal CheckRows(const Shape& shape, int width) {
  if (shape.empty() || shape.back() != width) {
    return Refuse("the input has the shape %s; needed is (..., %d)", TextOf(shape).c_str(), width);
  }
  size_t elements = 0;
  if (Refusal why = CountElements(shape, &elements)) return why;
  const size_t rows = elements / static_cast<size_t>(width);
  if (rows > kLargestSide) return Refuse("the input has %zu rows; the most are %d", rows, kLargestSide);
  return {};
}

// x (..., width) and, behind it, one of the output's shape.
Refusal InferDense(const Operator& op, const std::vector<Shape>& inputs, Shape* output) {
  if (Refusal why = CheckRows(inputs[0], static_cast<int>(op.dense.inputs))) return why;
  *output = inputs[0];
  output->back() = static_cast<int>(op.dense.outputs);
  if (inputs.size() > 1 && inputs[1] != *output) {
    return Refuse("the residual has the shape %s; needed is %s", TextOf(inputs[1]).c_str(), TextOf(*output).c_str());
  }
  return {};
}

Refusal InferAttention(const Operator& op, const std::vector<Shape>& inputs, Shape* output) {
  const Shape& q = inputs[0];
  if (q.size() != 3 || inputs[1] != q || inputs[2] != q) {
    return Refuse("q, k and v have the shapes %s, %s and %s; needed is one (batch, tokens, width)", TextOf(q).c_str(),
                  TextOf(inputs[1]).c_str(), TextOf(inputs[2]).c_str());
  }
  const int heads = static_cast<int>(op.attention.heads);
  if (q[2] < heads || q[2] > kLargestSide || q[2] % heads != 0) {
    return Refuse("the width %d does not divide into %d heads", q[2], heads);
  }
  if (q[1] > kLargestSide) return Refuse("there are %d tokens; the most are %d", q[1], kLargestSide);
  if (inputs.size() > 3) {
    size_t found = 0;
    if (Refusal why = CountElements(inputs[3], &found)) return why;
    const size_t tokens = static_cast<size_t>(q[1]);
    if (found != tokens && found != tokens * static_cast<size_t>(q[0])) {
      return Refuse("the mask has the shape %s; needed are %zu elements, or those for each of %d examples",
                    TextOf(inputs[3]).c_str(), tokens, q[0]);
    }
  }
  *output = q;
  return {};
}

Refusal Infer(const Operator& op, const std::vector<Shape>& inputs, Shape* output) {
  for (const Shape& shape : inputs) {
    size_t count = 0;
    if (Refusal why = CountElements(shape, &count)) return why;
  }
  switch (op.kind) {
    case Kind::kFullyConnected:
      return InferDense(op, inputs, output);
    case Kind::kEmbedding:
      *output = inputs[0];
      output->push_back(static_cast<int>(op.embedding.width));
      return {};
    case Kind::kAttention:
      return InferAttention(op, inputs, output);
    case Kind::kLayerNorm:
      *output = inputs[0];
      return CheckRows(inputs[0], op.width);
  }
  return {};
}

}  // namespace

const char* NameOf(Kind kind) { return kNames[static_cast<int>(kind)]; }

bool KindOf(const TfLiteRegistration& registration, Kind* kind) {
  for (int i = 0; i < kKinds; ++i) {
    if (registration.custom_name != nullptr && strcmp(registration.custom_name, kNames[i]) == 0) {
      *kind = static_cast<Kind>(i);
      return true;
    }
  }
  return false;
}

Refusal ReadOperator(const TfLiteContext& context, int number, const TfLiteNode& node, Kind kind, Operator* found) {
  *found = Operator{};
  found->kind = kind;
  found->node = number;
  Refusal why;
  switch (kind) {
    case Kind::kFullyConnected:
      why = ReadFullyConnected(context, node, found);
      break;
    case Kind::kEmbedding:
      why = ReadEmbedding(context, node, found);
      break;
    case Kind::kAttention:
      why = ReadAttention(node, found);
      break;
    case Kind::kLayerNorm:
      why = ReadLayerNorm(context, node, found);
      break;
  }
  if (why) return Named(*found, why);
  found->outputs.assign(node.outputs->data, node.outputs->data + node.outputs->size);
  if ((why = CheckActivations(context, *found))) return Named(*found, why);
  return {};
}

Refusal InferShape(const Operator& op, const std::vector<Shape>& inputs, Shape* output) {
  Refusal why = Infer(op, inputs, output);
  size_t count = 0;
  if (!why) why = CountElements(*output, &count);
  if (why) return Named(op, why);
  return {};
}

}  // namespace tfcompress
