// The lengths of a tensor's axes, and how messages show them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "refusal.h"
#include "tflite_abi.h"

namespace tfcompress {

using Shape = std::vector<int>;

// Compute kernels count with int.
constexpr int64_t kMostElements = INT32_MAX;

// Refuses negative lengths and more than kMostElements.
Refusal CountElements(const Shape& shape, size_t* count);

// Returns the rows of a shape (..., width) that CountElements has accepted.
int RowsOf(const Shape& shape, int width);

// Returns the tensor's present lengths, or nothing if it has none yet.
Shape ShapeOf(const TfLiteTensor& tensor);

// "(1, 197, 192)"
std::string TextOf(const Shape& shape);

// "float32 (1, 197, 192)"
std::string TextOf(const TfLiteTensor& tensor);

// "float32"
std::string TypeText(int type);

// Returns the bytes of one value; 0 for types that none of our operators takes.
size_t TypeBytes(int type);

}  // namespace tfcompress
