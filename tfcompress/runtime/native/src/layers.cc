#include "layers.h"

#include <cstring>

namespace tfcompress {
namespace {

// A constant, which may lie at any address; read by memcpy therefore.
template <typename T>
T ValueAt(const TfLiteTensor& tensor, size_t i) {
  T value;
  memcpy(&value, static_cast<const char*>(tensor.data) + i * sizeof(T), sizeof(T));
  return value;
}

size_t LengthOf(const TfLiteTensor& tensor) { return static_cast<size_t>(tensor.dims->data[0]); }

Refusal NoMemory(const Operator& op) { return Refuse("%s (node %d): no memory left", NameOf(op.kind), op.node); }

// Copies a vector into zeros of at least its length.
template <typename T>
bool Copy(const TfLiteTensor& tensor, size_t length, AlignedArray<T>* array) {
  *array = AlignedArray<T>(length);
  if (array->data() == nullptr) return false;
  memcpy(array->data(), tensor.data, LengthOf(tensor) * sizeof(T));
  return true;
}

// Float centroids, 2^bits of them, of a codebook of either type; those behind the codebook's end are zero. A scale by
// output is left out.
bool MakeCentroids(const TfLiteContext& context, const Segment& segment, int bits, AlignedArray<float>* centroids) {
  const TfLiteTensor& codebook = context.tensors[segment.codebook];
  const size_t length = size_t{1} << bits;
  if (codebook.type == kTfLiteFloat32) return Copy(codebook, length, centroids);
  *centroids = AlignedArray<float>(length);
  if (centroids->data() == nullptr) return false;
  const TfLiteTensor& scales = context.tensors[segment.scale];
  const float scale = LengthOf(scales) == 1 ? ValueAt<float>(scales, 0) : 1.0F;
  for (size_t i = 0; i < LengthOf(codebook); ++i) (*centroids)[i] = scale * ValueAt<int8_t>(codebook, i);
  return true;
}

// Scales and offsets by output.
bool MakeScales(const TfLiteContext& context, const Segment& segment, size_t outputs, size_t padded,
                DenseLayer* layer) {
  const TfLiteTensor& scales = context.tensors[segment.scale];
  const TfLiteTensor& sums = context.tensors[segment.sums];
  layer->scale = AlignedArray<float>(padded);
  layer->offset = AlignedArray<float>(padded);
  if (layer->scale.data() == nullptr || layer->offset.data() == nullptr) return false;
  const bool one = LengthOf(scales) == 1;
  for (size_t n = 0; n < outputs; ++n) {
    layer->scale[n] = ValueAt<float>(scales, one ? 0 : n);
    layer->offset[n] = layer->scale[n] * static_cast<float>(ValueAt<int32_t>(sums, n));
  }
  return true;
}

}  // namespace

Refusal MakeDense(const TfLiteContext& context, const Operator& op, const Segment& segment, DenseLayer* layer) {
  const FullyConnectedOptions& options = op.dense;
  const int bits = static_cast<int>(options.bits);
  const size_t outputs = options.outputs;
  const auto padded = static_cast<size_t>(RoundUp(static_cast<int>(options.outputs), kPadding));
  DenseWeights& weights = layer->weights;
  weights = DenseWeights{};
  weights.inputs = static_cast<int>(options.inputs);
  weights.outputs = static_cast<int>(options.outputs);
  weights.bits = bits;
  weights.activation = static_cast<Activation>(options.activation);
  weights.indices = static_cast<const uint8_t*>(context.tensors[segment.indices].data);
  if (options.computing == static_cast<uint32_t>(Computing::kInt8)) {
    if (!Copy(context.tensors[segment.codebook], size_t{1} << bits, &layer->centroids8) ||
        !MakeScales(context, segment, outputs, padded, layer)) {
      return NoMemory(op);
    }
  } else {
    if (!MakeCentroids(context, segment, bits, &layer->centroids)) return NoMemory(op);
    const bool by_output = segment.scale != kAbsent && LengthOf(context.tensors[segment.scale]) > 1;
    if (by_output && !Copy(context.tensors[segment.scale], padded, &layer->scale)) return NoMemory(op);
  }
  if (segment.bias == kAbsent) {
    layer->bias = AlignedArray<float>(padded);
    if (layer->bias.data() == nullptr) return NoMemory(op);
  } else if (!Copy(context.tensors[segment.bias], padded, &layer->bias)) {
    return NoMemory(op);
  }
  weights.centroids = layer->centroids.data();
  weights.centroids8 = layer->centroids8.data();
  weights.bias = layer->bias.data();
  weights.scale = layer->scale.data();
  weights.offset = layer->offset.data();
  return {};
}

Refusal MakeEmbedding(const TfLiteContext& context, const Operator& op, EmbeddingTable* table) {
  const Segment& segment = op.segments[0];
  table->rows = static_cast<int>(op.embedding.rows);
  table->width = static_cast<int>(op.embedding.width);
  table->bits = static_cast<int>(op.embedding.bits);
  table->indices = static_cast<const uint8_t*>(context.tensors[segment.indices].data);
  if (!MakeCentroids(context, segment, table->bits, &table->centroids)) return NoMemory(op);
  return {};
}

Refusal MakeLayerNorm(const TfLiteContext& context, const Operator& op, LayerNormWeights* weights) {
  const auto padded = static_cast<size_t>(RoundUp(op.width, kPadding));
  if (!Copy(context.tensors[op.gamma], padded, &weights->gamma) ||
      !Copy(context.tensors[op.beta], padded, &weights->beta)) {
    return NoMemory(op);
  }
  return {};
}

}  // namespace tfcompress
