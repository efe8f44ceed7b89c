// What tests of kernels share: seeded random numbers, memory of exactly the size that is asked for, and layers.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "format.h"
#include "kernels.h"

namespace tfcompress {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  int Whole(int least, int most) { return std::uniform_int_distribution<int>(least, most)(engine_); }
  float Normal() { return normal_(engine_); }
  bool Chance(int in) { return Whole(1, in) == 1; }
  template <class T>
  T OneOf(const std::vector<T>& values) {
    return values[static_cast<size_t>(Whole(0, static_cast<int>(values.size()) - 1))];
  }
  std::vector<float> Normals(size_t count, float deviation = 1.0f) {
    std::vector<float> values(count);
    for (float& v : values) v = deviation * Normal();
    return values;
  }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> normal_;
};

// Returns how many of `count` random shapes to test: TFCOMPRESS_TEST_SHAPES percent, since emulators are slow.
int Shapes(int count);

// 64-byte aligned memory. AddressSanitizer notices an access to the first byte after it.
template <class T>
class Aligned {
 public:
  explicit Aligned(size_t count, T fill = T()) : count_(count) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, count * sizeof(T) + (count == 0)) != 0) abort();
    data_.reset(static_cast<T*>(memory));
    for (size_t i = 0; i < count; ++i) data_.get()[i] = fill;
  }
  explicit Aligned(const std::vector<T>& values) : Aligned(values.size()) {
    for (size_t i = 0; i < count_; ++i) data_.get()[i] = values[i];
  }

  T* get() const { return data_.get(); }
  size_t size() const { return count_; }
  T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { free(p); }
  };
  std::unique_ptr<T, Free> data_;
  size_t count_;
};

constexpr float kUnwritten = -12345.0f;

// A dense layer of random centroids and indices, and what it was made from.
struct TestLayer {
  TestLayer(int inputs, int outputs, int bits, Activation activation, Random* random);

  // For float32 arithmetic, with or without scales per output.
  DenseWeights FloatWeights(bool scaled = false) const;

  DenseWeights weights;
  std::vector<uint8_t> indices;  // (outputs, inputs)
  Aligned<uint8_t> blocks;
  Aligned<float> centroids, bias, scale, offset;
  Aligned<int8_t> centroids8;
};

double Activate(Activation activation, double x);

// Returns the largest |y - wanted|, relative to the largest |wanted|.
double Difference(const float* y, const std::vector<double>& wanted);

}  // namespace tfcompress
