#include "kernels_for_test.h"

#include <algorithm>
#include <cmath>

#include "pack_matrix.h"

namespace tfcompress {

int Shapes(int count) {
  const char* percent = getenv("TFCOMPRESS_TEST_SHAPES");
  return percent == nullptr ? count : std::max(1, count * atoi(percent) / 100);
}

TestLayer::TestLayer(int inputs, int outputs, int bits, Activation activation, Random* random)
    : indices(static_cast<size_t>(inputs) * outputs),
      blocks(PackedMatrixBytes(outputs, inputs, bits)),
      centroids(size_t{1} << bits),
      bias(static_cast<size_t>(RoundUp(outputs, kPadding))),
      scale(bias.size()),
      offset(bias.size()),
      centroids8(size_t{1} << bits) {
  for (uint8_t& index : indices) index = static_cast<uint8_t>(random->Whole(0, (1 << bits) - 1));
  PackMatrix(indices.data(), outputs, inputs, bits, blocks.get());
  for (size_t i = 0; i < centroids.size(); ++i) {
    centroids[i] = 0.2f * random->Normal();
    centroids8[i] = static_cast<int8_t>(random->Whole(-128, 127));
  }
  for (int n = 0; n < outputs; ++n) {
    bias[n] = random->Normal();
    scale[n] = 0.001f * static_cast<float>(random->Whole(1, 20));
    int sum = 0;
    for (int k = 0; k < inputs; ++k) sum += centroids8[indices[static_cast<size_t>(n) * inputs + k]];
    offset[n] = scale[n] * static_cast<float>(sum);
  }
  weights = {inputs,          outputs,          bits,       activation,  blocks.get(),
             centroids.get(), centroids8.get(), bias.get(), scale.get(), offset.get()};
}

DenseWeights TestLayer::FloatWeights(bool scaled) const {
  DenseWeights found = weights;
  if (!scaled) found.scale = nullptr;
  return found;
}

double Activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kGelu:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case Activation::kTanh:
      return std::tanh(x);
    default:
      return x;
  }
}

double Difference(const float* y, const std::vector<double>& wanted) {
  double difference = 0, largest = 1e-30;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!std::isfinite(y[i])) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, std::fabs(y[i] - wanted[i]));
    largest = std::max(largest, std::fabs(wanted[i]));
  }
  return difference / largest;
}

}  // namespace tfcompress
