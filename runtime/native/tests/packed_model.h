// Builds graphs of packed operators with random weights, and computes their expected outputs in double precision.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "fake_tflite.h"
#include "format.h"

namespace tfcompress {

struct DenseSpec {
  int outputs = 16, bits = 6;
  int centroids = 0;  // 0: 2^bits
  Activation activation = Activation::kNone;
  Computing computing = Computing::kFloat32;
  int segments = 1;
  int residual = -1;  // a tensor, or -1 for none
  bool bias = true;
  bool int8_codebook = false;
  bool scale_by_output = false;
  bool flagged = false;  // version 2 with kScales, which scale_by_output of float32 centroids implies
  size_t shift = 0;      // bytes by which constants are out of alignment
};

class PackedModel {
 public:
  explicit PackedModel(unsigned seed = 0) : random_(seed) {}

  int Input(const Shape& shape);  // float32
  int Ids(const Shape& shape);    // int32, zeros

  std::vector<int> Dense(int x, const DenseSpec& spec);
  int Embedding(int ids, int rows, int width, int bits, bool int8_codebook = false, size_t shift = 0,
                bool scale_by_row = false);
  // q, k and v must have as many tokens as the first input of the model.
  int Attention(int q, int k, int v, int heads, int mask = -1, Computing computing = Computing::kFloat32);
  int LayerNorm(int x, size_t shift = 0);
  int Copy(int x);  // not an operator of the delegate

  // Adds a pre-norm encoder layer on x (batch, tokens, width) and returns its output.
  int EncoderLayer(int x, int heads, int mask, Computing computing);

  void Fill(int tensor, float deviation = 1);  // with normally distributed values
  std::vector<float> Normal(size_t count, float deviation);

  // Returns the largest error of an output for the present inputs, relative to its largest value.
  double Error(int output);

  FakeInterpreter interpreter;

 private:
  using Values = std::map<int, std::vector<double>>;

  int Output(int x, int width);  // (..., width)
  void Expect(std::function<void(Values*)> step) { steps_.push_back(std::move(step)); }

  std::mt19937 random_;
  std::vector<int> inputs_;
  std::vector<std::function<void(Values*)>> steps_;
};

// Options as they are in the file, in the first version that has them.
template <typename Options>
std::vector<uint8_t> BytesOf(Options options) {
  options.version = options.flags == Flags::kNone ? 1 : 2;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&options);
  return std::vector<uint8_t>(bytes, bytes + sizeof(options) - (options.version == 1 ? sizeof(Flags) : 0));
}

// Packs the rows of an embedding's table as docs/format.md says.
std::vector<uint8_t> PackRows(const std::vector<uint8_t>& indices, int rows, int width, int bits);

}  // namespace tfcompress
