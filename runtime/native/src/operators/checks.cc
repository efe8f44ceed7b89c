#include "operators/checks.h"

#include <cstring>

#include "format.h"
#include "operators/operator.h"

namespace tfcompress {
namespace {

bool IsConstant(const TfLiteTensor& tensor) {
  return tensor.allocation_type == kTfLiteMmapRo || tensor.allocation_type == kTfLitePersistentRo;
}

Refusal CheckType(const TfLiteContext& context, int number, const char* what, int type) {
  const TfLiteTensor* tensor = TensorAt(context, number);
  if (tensor == nullptr) return Refuse("%s is missing (tensor %d)", what, number);
  if (tensor->type == type && tensor->sparsity == nullptr) return {};
  return Refuse("%s (tensor %d) is %s%s; expected %s", what, number, tensor->sparsity != nullptr ? "sparse " : "",
                TypeText(tensor->type).c_str(), TypeText(type).c_str());
}

}  // namespace

Refusal ReadOptions(const TfLiteNode& node, void* options, size_t bytes) {
  const int size = node.custom_initial_data == nullptr ? 0 : node.custom_initial_data_size;
  uint32_t version = 0;
  if (size >= static_cast<int>(sizeof(version))) memcpy(&version, node.custom_initial_data, sizeof(version));
  if (version < 1 || version > kFormatVersion) {
    return Refuse("the options have version %u in %d bytes; this runtime reads versions 1 to %u: pack the file again",
                  version, size, kFormatVersion);
  }
  const size_t expected = version == 1 ? bytes - sizeof(Flags) : bytes;
  if (size != static_cast<int>(expected)) return Refuse("the options have %d bytes; expected %zu", size, expected);
  memset(options, 0, bytes);
  memcpy(options, node.custom_initial_data, expected);
  return {};
}

Refusal CheckRange(const char* option, uint32_t value, uint32_t least, uint32_t most) {
  if (value >= least && value <= most) return {};
  return Refuse("option %s is %u; expected %u to %u", option, value, least, most);
}

Refusal CheckCounts(const TfLiteNode& node, int least_inputs, int most_inputs, int outputs) {
  const int found_inputs = node.inputs == nullptr ? 0 : node.inputs->size;
  const int found_outputs = node.outputs == nullptr ? 0 : node.outputs->size;
  if (found_inputs >= least_inputs && found_inputs <= most_inputs && found_outputs == outputs) return {};
  return Refuse("there are %d inputs and %d outputs; expected %d to %d inputs and %d outputs", found_inputs,
                found_outputs, least_inputs, most_inputs, outputs);
}

const TfLiteTensor* TensorAt(const TfLiteContext& context, int tensor) {
  if (tensor < 0 || static_cast<size_t>(tensor) >= context.tensors_size) return nullptr;
  return &context.tensors[tensor];
}

Refusal CheckConstant(const TfLiteContext& context, int number, const char* what, int type, size_t count) {
  const TfLiteTensor* tensor = TensorAt(context, number);
  if (tensor == nullptr) {
    return Refuse("%s are missing (tensor %d); expected %s (%zu)", what, number, TypeText(type).c_str(), count);
  }
  if (!IsConstant(*tensor) || tensor->data == nullptr) {
    return Refuse("%s (tensor %d) are not a constant of the file", what, number);
  }
  const Shape shape = ShapeOf(*tensor);
  const bool same =
      tensor->type == type && shape.size() == 1 && shape[0] >= 0 && static_cast<size_t>(shape[0]) == count;
  if (!same || tensor->bytes != count * TypeBytes(type) || tensor->sparsity != nullptr) {
    return Refuse("%s (tensor %d) are %s in %zu bytes; expected %s (%zu)", what, number, TextOf(*tensor).c_str(),
                  tensor->bytes, TypeText(type).c_str(), count);
  }
  return {};
}

Refusal CheckInput(const TfLiteContext& context, int number, int type) {
  return CheckType(context, number, "an input", type);
}

Refusal CheckOutput(const TfLiteContext& context, int number) {
  if (Refusal why = CheckType(context, number, "an output", kTfLiteFloat32)) return why;
  if (!IsConstant(context.tensors[number])) return {};
  return Refuse("an output (tensor %d) is a constant, which cannot be written", number);
}

Refusal CheckRows(const Shape& shape, int width) {
  if (shape.empty() || shape.back() != width) {
    return Refuse("the input has the shape %s; expected (..., %d)", TextOf(shape).c_str(), width);
  }
  size_t elements = 0;
  if (Refusal why = CountElements(shape, &elements)) return why;
  const size_t rows = elements / static_cast<size_t>(width);
  if (rows > kLargestSide) return Refuse("the input has %zu rows; at most %d are supported", rows, kLargestSide);
  return {};
}

}  // namespace tfcompress
