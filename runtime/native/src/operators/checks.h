// Checks that several operators share while they are read from a graph.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.h"
#include "refusal.h"
#include "shape.h"
#include "tflite_abi.h"

namespace tfcompress {

// Copies the options, which may lie at any address, if their version and size are right. Those of version 1 get no
// flags.
Refusal ReadOptions(const TfLiteNode& node, void* options, size_t bytes);

Refusal CheckRange(const char* option, uint32_t value, uint32_t least, uint32_t most);

// For an enum of 32 bits whose values are 0 to `last`.
template <typename Enum>
Refusal CheckEnum(const char* option, Enum value, Enum last) {
  return CheckRange(option, static_cast<uint32_t>(value), 0, static_cast<uint32_t>(last));
}

// `last` is the last of the flags that the operator may have.
template <typename Options>
Refusal ReadOptions(const TfLiteNode& node, Options* options, Flags last = Flags::kNone) {
  if (Refusal why = ReadOptions(node, options, sizeof(Options))) return why;
  return CheckEnum("flags", options->flags, last);
}

Refusal CheckCounts(const TfLiteNode& node, int least_inputs, int most_inputs, int outputs);

// Returns null if the graph has no tensor of this number.
const TfLiteTensor* TensorAt(const TfLiteContext& context, int tensor);

// Checks for a vector of `count` values of `type` in the file.
Refusal CheckConstant(const TfLiteContext& context, int number, const char* what, int type, size_t count);

// Checks the type of an input, which may be a constant.
Refusal CheckInput(const TfLiteContext& context, int number, int type);

// Checks for a float32 tensor outside of the file, which is mapped read-only.
Refusal CheckOutput(const TfLiteContext& context, int number);

// Checks for the shape (..., width) with at most kLargestSide rows.
Refusal CheckRows(const Shape& shape, int width);

}  // namespace tfcompress
