// Compares layer normalization on every usable instruction set with plain code in double precision.
#include <gtest/gtest.h>

#include <cmath>

#include "instruction_sets.h"
#include "kernels_for_test.h"

namespace tfcompress {
namespace {

struct Layer {
  int width;
  float epsilon;
  std::vector<float> gamma, beta;
};

Layer RandomLayer(int width, Random* random) {
  const auto size = static_cast<size_t>(width);
  return {width, 1e-6f, random->Normals(size), random->Normals(size)};
}

std::vector<double> Wanted(const Layer& layer, const std::vector<float>& x) {
  std::vector<double> wanted;
  const auto width = static_cast<size_t>(layer.width);
  for (size_t row = 0; row < x.size() / width; ++row) {
    const float* at = x.data() + row * width;
    double mean = 0, variance = 0;
    for (size_t k = 0; k < width; ++k) mean += at[k] / static_cast<double>(width);
    for (size_t k = 0; k < width; ++k) variance += (at[k] - mean) * (at[k] - mean) / static_cast<double>(width);
    const double factor = 1 / std::sqrt(variance + layer.epsilon);
    for (size_t k = 0; k < width; ++k) wanted.push_back((at[k] - mean) * factor * layer.gamma[k] + layer.beta[k]);
  }
  return wanted;
}

void Check(const Layer& layer, const std::vector<float>& x, bool in_place) {
  const std::vector<double> wanted = Wanted(layer, x);
  const Aligned<float> gamma(layer.gamma), beta(layer.beta);
  const int rows = static_cast<int>(x.size()) / layer.width;
  for (const Kernels* kernels : UsableKernels()) {
    SCOPED_TRACE(std::string(kernels->name) + " width " + std::to_string(layer.width));
    const Aligned<float> input(x), other(x.size(), kUnwritten);
    float* y = in_place ? input.get() : other.get();
    kernels->layer_norm(input.get(), rows, layer.width, gamma.get(), beta.get(), layer.epsilon, y);
    EXPECT_LT(Difference(y, wanted), 1e-5);
  }
}

TEST(LayerNormTest, RandomShapes) {
  Random random(1);
  for (int i = 0; i < 200 && !HasFailure(); ++i) {
    const int width = random.Chance(4) ? random.Whole(300, 800) : random.Whole(2, 100);
    const Layer layer = RandomLayer(width, &random);
    std::vector<float> x = random.Normals(static_cast<size_t>(width) * random.Whole(1, 8));
    for (float& v : x) v += 3.0f;
    Check(layer, x, random.Chance(2));
  }
}

TEST(LayerNormTest, ConstantRowsAreBeta) {
  Random random(2);
  for (int width : {1, 5, 192}) {
    for (float value : {0.0f, 0.1f, -1234.567f, 1e30f}) {
      Check(RandomLayer(width, &random), std::vector<float>(static_cast<size_t>(3) * width, value), true);
    }
  }
}

TEST(LayerNormTest, HugeValues) {
  Random random(3);
  Check(RandomLayer(192, &random), random.Normals(5 * 192, 1e17f), false);
  std::vector<float> x = random.Normals(5 * 192);
  for (size_t row = 0; row < 5; ++row) x[row * 192 + row] = 1e6f;
  Check(RandomLayer(192, &random), x, false);
}

TEST(LayerNormTest, TakesInfinitiesAndNaN) {
  Random random(4);
  const Layer layer = RandomLayer(50, &random);
  const Aligned<float> gamma(layer.gamma), beta(layer.beta);
  for (float odd : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::max()}) {
    for (const Kernels* kernels : UsableKernels()) {
      std::vector<float> values = random.Normals(100);
      values[7] = odd;
      const Aligned<float> x(values), y(100);
      kernels->layer_norm(x.get(), 2, 50, gamma.get(), beta.get(), 1e-6f, y.get());
      for (size_t k = 50; k < 100; ++k) EXPECT_TRUE(std::isfinite(y[k])) << kernels->name;
    }
  }
}

}  // namespace
}  // namespace tfcompress
