// Lengths of the axes of a tensor, and how they are said in messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "refusal.h"
#include "tflite_abi.h"

namespace tfcompress {

using Shape = std::vector<int>;

// What kernels count with is an int.
constexpr int64_t kMostElements = INT32_MAX;

// Refuses negative lengths and more than kMostElements.
Refusal CountElements(const Shape& shape, size_t* count);

// The tensor's present lengths; empty where it has none yet.
Shape ShapeOf(const TfLiteTensor& tensor);

// "(1, 197, 192)"
std::string TextOf(const Shape& shape);

// "float32 (1, 197, 192)"
std::string TextOf(const TfLiteTensor& tensor);

// "float32"
std::string TypeText(int type);

// Bytes of one value; 0 for types that no operator of ours takes.
size_t TypeBytes(int type);

}  // namespace tfcompress
