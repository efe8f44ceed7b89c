// Constants of a file, copied into aligned and padded arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "aligned.h"
#include "format.h"
#include "refusal.h"
#include "tflite_abi.h"

namespace tfcompress {

// Reads value `i` of a constant. Constants may lie at any address, hence the memcpy.
template <typename T>
T ValueAt(const TfLiteTensor& tensor, size_t i) {
  T value;
  memcpy(&value, static_cast<const char*>(tensor.data) + i * sizeof(T), sizeof(T));
  return value;
}

inline size_t LengthOf(const TfLiteTensor& tensor) { return static_cast<size_t>(tensor.dims->data[0]); }

// Copies a vector and pads it with zeros to `length` values. Returns false if there is not enough memory.
template <typename T>
bool CopyPadded(const TfLiteTensor& tensor, size_t length, AlignedArray<T>* array) {
  *array = AlignedArray<T>(length);
  if (array->data() == nullptr) return false;
  memcpy(array->data(), tensor.data, LengthOf(tensor) * sizeof(T));
  return true;
}

// The tensors of packed weights, by their numbers in the graph.
struct PackedWeights {
  int indices, codebook, scale;
};

// What the scales of packed weights are.
struct WeightScales {
  Flags flags;
  size_t rows;  // how many there are with kScales; without it, an int8 codebook has as many or one
};

// Checks for `bytes` of indices, a codebook of at most 2^bits centroids, which must be int8 if `int8` is set, and the
// scales. Without kScales, a float32 codebook has none.
Refusal CheckPackedWeights(const TfLiteContext& context, const PackedWeights& weights, size_t bytes, int bits,
                           bool int8, WeightScales scales);

// Makes 2^bits float centroids of a codebook of either type, with zeros after the codebook's end. A single scale is
// multiplied in; scales per row are not. Returns false if there is not enough memory.
bool CopyFloatCentroids(const TfLiteContext& context, const PackedWeights& weights, int bits,
                        AlignedArray<float>* centroids);

}  // namespace tfcompress
