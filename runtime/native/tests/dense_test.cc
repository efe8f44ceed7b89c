// Compares dense layers on every usable instruction set with plain code in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "instruction_sets.h"
#include "kernels_for_test.h"

namespace tfcompress {
namespace {

const Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kGelu, Activation::kGeluTanh,
                                   Activation::kTanh};

struct Case {
  int rows, inputs, outputs, bits;
  Activation activation;
  bool residual;
  bool scaled = false;  // float32 arithmetic with one scale per output
};

std::string Describe(const Case& c) {
  return "rows " + std::to_string(c.rows) + " inputs " + std::to_string(c.inputs) + " outputs " +
         std::to_string(c.outputs) + " bits " + std::to_string(c.bits) + " activation " +
         std::to_string(static_cast<int>(c.activation)) + (c.residual ? " residual" : "") + (c.scaled ? " scaled" : "");
}

// Mostly small. One row, many rows, widths below a panel and odd widths are all likely.
Case RandomCase(Random* random) {
  Case c;
  c.rows = random->Chance(4) ? 1 : random->Chance(8) ? random->Whole(60, 300) : random->Whole(2, 40);
  const int most = c.rows > 60 ? 100 : 260;
  c.inputs = random->Chance(3) ? 8 * random->Whole(1, most / 8) : random->Whole(1, most);
  c.outputs = random->Chance(3) ? 16 * random->Whole(1, most / 16) : random->Whole(1, most);
  c.bits = random->Whole(2, 8);
  c.activation = kActivations[random->Whole(0, 4)];
  c.residual = random->Chance(3);
  c.scaled = random->Chance(4);
  return c;
}

std::vector<double> Wanted(const Case& c, const TestLayer& layer, const std::vector<float>& x,
                           const std::vector<float>& residual) {
  std::vector<double> wanted(static_cast<size_t>(c.rows) * c.outputs), weights(layer.indices.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = layer.centroids[layer.indices[i]] * (c.scaled ? double{layer.scale[i / c.inputs]} : 1);
  }
  for (int row = 0; row < c.rows; ++row) {
    for (int n = 0; n < c.outputs; ++n) {
      double sum = layer.bias[n];
      for (int k = 0; k < c.inputs; ++k) sum += x[row * c.inputs + k] * weights[static_cast<size_t>(n) * c.inputs + k];
      const size_t at = static_cast<size_t>(row) * c.outputs + n;
      wanted[at] = Activate(c.activation, sum) + (c.residual ? residual[at] : 0.0f);
    }
  }
  return wanted;
}

// Calls a kernel as the runtime does: for some panels, then for the others.
template <class Call>
void InTwoParts(const Kernels& kernels, int outputs, const Call& call) {
  const int panels = (outputs + kernels.panel_outputs - 1) / kernels.panel_outputs;
  const int middle = std::min(panels / 2 * kernels.panel_outputs, outputs);
  if (middle > 0) call(0, middle);
  call(middle, outputs);
}

// All outputs, without a residual.
DenseTask FloatTask(const DenseWeights& weights, const Aligned<float>& x, int rows, const Aligned<float>& y,
                    const Aligned<char>& scratch) {
  return {weights, x.get(), nullptr, nullptr, rows, 0, weights.outputs, nullptr, y.get(), scratch.get(), {nullptr, 0}};
}

void CheckFloat(const Case& c, Random* random) {
  SCOPED_TRACE(Describe(c));
  const TestLayer layer(c.inputs, c.outputs, c.bits, c.activation, random);
  const TestLayer next(24, 40, c.bits, c.activation, random);
  const std::vector<float> x = random->Normals(static_cast<size_t>(c.rows) * c.inputs);
  const std::vector<float> residual = random->Normals(static_cast<size_t>(c.rows) * c.outputs);
  const DenseWeights weights = layer.FloatWeights(c.scaled);
  const std::vector<double> wanted = Wanted(c, layer, x, residual);
  const bool in_place = c.residual && random->Chance(2);
  for (const Kernels* kernels : UsableKernels()) {
    SCOPED_TRACE(kernels->name);
    const Aligned<float> input(x), added(residual);
    const Aligned<float> y = in_place ? Aligned<float>(residual) : Aligned<float>(wanted.size(), kUnwritten);
    const Aligned<char> scratch(kernels->dense_scratch(weights, c.rows));
    const float* add = !c.residual ? nullptr : in_place ? y.get() : added.get();
    InTwoParts(*kernels, c.outputs, [&](int begin, int end) {
      DenseTask task = FloatTask(weights, input, c.rows, y, scratch);
      task.begin = begin;
      task.end = end;
      task.residual = add;
      task.next = {next.blocks.get(), next.blocks.size()};
      kernels->dense(task);
    });
    EXPECT_LT(Difference(y.get(), wanted), 1e-5);
  }
}

TEST(DenseTest, RandomShapes) {
  Random random(1);
  for (int i = 0; i < Shapes(1000) && !HasFailure(); ++i) CheckFloat(RandomCase(&random), &random);
}

TEST(DenseTest, ShapesOfModels) {
  Random random(2);
  CheckFloat({197, 192, 192, 6, Activation::kNone, true}, &random);
  CheckFloat({30, 512, 96, 6, Activation::kGelu, false}, &random);  // rows that compete for sets of the cache
  CheckFloat({600, 64, 48, 5, Activation::kGelu, false}, &random);
  CheckFloat({1, 768, 3072, 6, Activation::kGeluTanh, false}, &random);
}

TEST(DenseTest, WritesOnlyItsOutputs) {
  Random random(3);
  for (const Kernels* kernels : UsableKernels()) {
    const int outputs = 3 * kernels->panel_outputs;
    const TestLayer layer(20, outputs, 6, Activation::kNone, &random);
    for (int rows : {1, 5}) {
      const Aligned<float> x(static_cast<size_t>(rows) * 20, 1.0f), y(static_cast<size_t>(rows) * outputs, kUnwritten);
      const DenseWeights weights = layer.FloatWeights();
      const Aligned<char> scratch(kernels->dense_scratch(weights, rows));
      DenseTask task = FloatTask(weights, x, rows, y, scratch);
      task.begin = kernels->panel_outputs;
      task.end = 2 * kernels->panel_outputs;
      kernels->dense(task);
      for (size_t i = 0; i < y.size(); ++i) {
        const int n = static_cast<int>(i) % outputs;
        EXPECT_EQ(y[i] != kUnwritten, n >= kernels->panel_outputs && n < 2 * kernels->panel_outputs)
            << kernels->name << " " << i;
      }
    }
  }
}

TEST(DenseTest, NaNSpoilsOnlyItsRow) {
  Random random(4);
  for (Activation activation : kActivations) {
    const TestLayer layer(40, 33, 6, activation, &random);
    std::vector<float> x = random.Normals(3 * 40);
    x[40 + 7] = std::numeric_limits<float>::quiet_NaN();
    for (const Kernels* kernels : UsableKernels()) {
      SCOPED_TRACE(kernels->name);
      const Aligned<float> input(x), y(3 * 33);
      const DenseWeights weights = layer.FloatWeights();
      const Aligned<char> scratch(kernels->dense_scratch(weights, 3));
      kernels->dense(FloatTask(weights, input, 3, y, scratch));
      for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 33 == 1) << i;
    }
  }
}

// ---- int8 ----

struct Quantized {
  Quantized(const Kernels& kernels, const std::vector<float>& x, int rows, int inputs)
      : stride(static_cast<size_t>(QuantizedStride(inputs))), q(rows * stride, 99), scales(static_cast<size_t>(rows)) {
    const Aligned<float> input(x);
    kernels.quantize_rows(input.get(), rows, inputs, q.get(), scales.get());
  }

  size_t stride;
  Aligned<uint8_t> q;
  Aligned<RowScale> scales;
};

// Returns the largest error, relative to the magnitudes that are added up. The formula is applied to the same quantized
// rows that the kernel had, and sums are exact.
double WorstOfInt8(const Case& c, const TestLayer& layer, const Quantized& x, const std::vector<float>& residual,
                   const float* y) {
  double worst = 0;
  for (int row = 0; row < c.rows; ++row) {
    for (int n = 0; n < c.outputs; ++n) {
      int64_t sum = 0;
      for (int k = 0; k < c.inputs; ++k) {
        sum += x.q[row * x.stride + k] * layer.centroids8[layer.indices[static_cast<size_t>(n) * c.inputs + k]];
      }
      const RowScale scale = x.scales[row];
      const double product = static_cast<double>(scale.scale) * layer.scale[n] * static_cast<double>(sum);
      const double zero = static_cast<double>(scale.zero) * layer.offset[n];
      const size_t at = static_cast<size_t>(row) * c.outputs + n;
      const double added = c.residual ? residual[at] : 0.0;
      const double wanted = Activate(c.activation, product - zero + layer.bias[n]) + added;
      const double size = std::fabs(product) + std::fabs(zero) + std::fabs(layer.bias[n]) + std::fabs(added) + 1;
      worst = std::max(worst, std::fabs(y[at] - wanted) / size);
    }
  }
  return worst;
}

DenseTask Int8Task(const DenseWeights& weights, const Aligned<uint8_t>& q, const Aligned<RowScale>& scales, int rows,
                   const Aligned<float>& y, const Aligned<char>& scratch) {
  return {weights,         nullptr, q.get(), scales.get(),  rows,        0,
          weights.outputs, nullptr, y.get(), scratch.get(), {nullptr, 0}};
}

void CheckInt8(const Case& c, Random* random) {
  SCOPED_TRACE(Describe(c));
  const TestLayer layer(c.inputs, c.outputs, c.bits, c.activation, random);
  const std::vector<float> x = random->Normals(static_cast<size_t>(c.rows) * c.inputs);
  const std::vector<float> residual = random->Normals(static_cast<size_t>(c.rows) * c.outputs);
  for (const Kernels* kernels : UsableKernels()) {
    SCOPED_TRACE(kernels->name);
    const Quantized quantized(*kernels, x, c.rows, c.inputs);
    const Aligned<float> added(residual), y(residual.size(), kUnwritten);
    const Aligned<char> scratch(kernels->dense_int8_scratch(layer.weights, c.rows));
    InTwoParts(*kernels, c.outputs, [&](int begin, int end) {
      DenseTask task = Int8Task(layer.weights, quantized.q, quantized.scales, c.rows, y, scratch);
      task.begin = begin;
      task.end = end;
      task.residual = c.residual ? added.get() : nullptr;
      kernels->dense_int8(task);
    });
    EXPECT_LT(WorstOfInt8(c, layer, quantized, residual, y.get()), 1e-6);
  }
}

TEST(DenseInt8Test, RandomShapes) {
  Random random(5);
  for (int i = 0; i < Shapes(500) && !HasFailure(); ++i) CheckInt8(RandomCase(&random), &random);
}

// Sums of two products that would overflow 16 bits. `least` is the least weight, `value` that of all activations.
void CheckLargestProducts(int8_t least, uint8_t value) {
  constexpr int kInputs = 512, kOutputs = 37;
  Random random(6);
  TestLayer layer(kInputs, kOutputs, 2, Activation::kNone, &random);
  const int8_t extremes[] = {least, -127, 127, least};
  for (int i = 0; i < 4; ++i) layer.centroids8[i] = extremes[i];
  for (int rows : {1, 16}) {
    const auto stride = static_cast<size_t>(QuantizedStride(kInputs));
    const Aligned<uint8_t> q(rows * stride, value);
    const Aligned<RowScale> scales(static_cast<size_t>(rows), RowScale{1.0f, 0.0f});
    for (int n = 0; n < kOutputs; ++n) {
      layer.scale[n] = 1.0f;
      layer.bias[n] = layer.offset[n] = 0.0f;
      for (int k = 0; k < kInputs; ++k) layer.offset[n] += extremes[layer.indices[n * kInputs + k]];
    }
    for (const Kernels* kernels : UsableKernels()) {
      const Aligned<float> y(static_cast<size_t>(rows) * kOutputs);
      const Aligned<char> scratch(kernels->dense_int8_scratch(layer.weights, rows));
      kernels->dense_int8(Int8Task(layer.weights, q, scales, rows, y, scratch));
      for (size_t i = 0; i < y.size(); ++i) {
        int sum = 0;
        for (int k = 0; k < kInputs; ++k) sum += value * extremes[layer.indices[i % kOutputs * kInputs + k]];
        ASSERT_EQ(y[i], static_cast<float>(sum)) << kernels->name << " rows " << rows << " at " << i;
      }
    }
  }
}

TEST(DenseInt8Test, LargestProductsAreExact) {
  for (int least : {-128, -127}) {
    for (int value : {0, 1, 255}) CheckLargestProducts(static_cast<int8_t>(least), static_cast<uint8_t>(value));
  }
}

TEST(QuantizeRowsTest, MatchesTheFormula) {
  Random random(7);
  for (int i = 0; i < 200; ++i) {
    const int rows = random.Whole(1, 4), inputs = random.Whole(1, 300);
    std::vector<float> x = random.Normals(static_cast<size_t>(rows) * inputs, std::pow(10.0f, random.Whole(-6, 6)));
    if (random.Chance(3)) {
      for (float& v : x) v = std::fabs(v);  // Then the range ends at zero.
    }
    if (random.Chance(10)) std::fill(x.begin(), x.end(), 0.0f);
    for (const Kernels* kernels : UsableKernels()) {
      SCOPED_TRACE(kernels->name);
      const Quantized got(*kernels, x, rows, inputs);
      for (int row = 0; row < rows; ++row) {
        const float* r = x.data() + static_cast<size_t>(row) * inputs;
        const double least = std::min(0.0f, *std::min_element(r, r + inputs));
        const double most = std::max(0.0f, *std::max_element(r, r + inputs));
        const double scale = most > least ? (most - least) / 255 : 1;
        EXPECT_NEAR(got.scales[row].scale / scale, 1, 1e-6);
        const double zero = std::nearbyint(-least / scale);
        EXPECT_NEAR(got.scales[row].zero / scale, zero, 1.001 * (std::fabs(-least / scale - zero) > 0.499) + 1e-4);
        for (int k = 0; k < inputs; ++k) {
          const double back =
              got.scales[row].scale * static_cast<double>(got.q[row * got.stride + k]) - got.scales[row].zero;
          EXPECT_NEAR(back / scale, r[k] / scale, 1.001) << k;  // half a step, and another where zero was rounded
          if (r[k] == 0.0f) {
            EXPECT_EQ(back, 0.0);
          }
        }
        for (int k = inputs; k < RoundUp(inputs, kPackedBlockInputs); ++k) EXPECT_EQ(got.q[row * got.stride + k], 0);
      }
    }
  }
}

TEST(QuantizeRowsTest, TakesInfinitiesAndNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (float odd : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::max(),
                    std::numeric_limits<float>::denorm_min()}) {
    std::vector<float> x(100, 1.0f);
    x[3] = odd;
    for (const Kernels* kernels : UsableKernels()) Quantized(*kernels, x, 1, 100);
  }
}

}  // namespace
}  // namespace tfcompress
