#include "packed_model.h"

#include <algorithm>
#include <cmath>

#include "pack_matrix.h"

namespace tfcompress {
namespace {

double Activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kTanh:
      return std::tanh(x);
  }
  return x;
}

// Quantizes rows to 8 bits and back.
std::vector<double> Rounded(std::vector<double> x, size_t width) {
  for (size_t row = 0; row < x.size(); row += width) {
    double low = 0, high = 0;
    for (size_t k = row; k < row + width; ++k) low = std::min(low, x[k]), high = std::max(high, x[k]);
    const double scale = high > low ? (high - low) / 255 : 1, zero = std::round(-low / scale);
    for (size_t k = row; k < row + width; ++k) {
      x[k] = (std::clamp(std::round(x[k] / scale) + zero, 0.0, 255.0) - zero) * scale;
    }
  }
  return x;
}

}  // namespace

std::vector<uint8_t> PackRows(const std::vector<uint8_t>& indices, int rows, int width, int bits) {
  std::vector<uint8_t> packed(static_cast<size_t>(rows) * PackedTableRowBytes(width, bits), 0);
  uint8_t* plane = packed.data();
  for (int row = 0; row < rows; ++row) {
    int low = 0;
    for (int p : {8, 4, 2, 1}) {
      if ((bits & p) == 0) continue;
      for (int i = 0; i < width; ++i) {
        const int value = indices[static_cast<size_t>(row * width + i)] >> low & ((1 << p) - 1);
        plane[i * p / 8] |= static_cast<uint8_t>(value << (i * p % 8));
      }
      plane += RoundUp(width, 8) / 8 * p;
      low += p;
    }
  }
  return packed;
}

std::vector<float> PackedModel::Normal(size_t count, float deviation) {
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random_);
  return values;
}

int PackedModel::Input(const Shape& shape) {
  const int tensor = interpreter.AddTensor(kTfLiteFloat32, shape);
  inputs_.push_back(tensor);
  return tensor;
}

int PackedModel::Ids(const Shape& shape) { return interpreter.AddTensor(kTfLiteInt32, shape); }

int PackedModel::Output(int x, int width) {
  Shape shape = ShapeOf(interpreter.tensor(x));
  shape.back() = width;
  return interpreter.AddTensor(kTfLiteFloat32, shape);
}

void PackedModel::Fill(int tensor, float deviation) {
  interpreter.Set(tensor, Normal(interpreter.tensor(tensor).bytes / sizeof(float), deviation));
}

std::vector<int> PackedModel::Dense(int x, const DenseSpec& spec) {
  const int inputs = ShapeOf(interpreter.tensor(x)).back(), outputs = spec.outputs;
  const int centroids = spec.centroids > 0 ? spec.centroids : 1 << spec.bits;
  const bool int8 = spec.computing == Computing::kInt8;
  const auto n = static_cast<size_t>(outputs), k = static_cast<size_t>(inputs);
  const bool by_output = spec.scale_by_output || spec.flagged;
  const bool flagged = spec.flagged || (spec.scale_by_output && !int8 && !spec.int8_codebook);
  std::vector<int> tensors{x}, found;
  for (int s = 0; s < spec.segments; ++s) {
    std::vector<uint8_t> indices(n * k), packed(PackedMatrixBytes(outputs, inputs, spec.bits));
    for (uint8_t& index : indices) index = static_cast<uint8_t>(random_() % static_cast<unsigned>(centroids));
    PackMatrix(indices.data(), outputs, inputs, spec.bits, packed.data());
    std::vector<float> codebook = Normal(static_cast<size_t>(centroids), 1 / std::sqrt(static_cast<float>(inputs)));
    std::vector<float> scales = Normal(by_output ? n : 1, 0);
    for (float& scale : scales) scale = 0.01F * static_cast<float>(1 + random_() % 8) / 8;
    std::vector<int8_t> codebook8;
    if (int8 || spec.int8_codebook) {
      for (float& c : codebook) {
        codebook8.push_back(static_cast<int8_t>(std::clamp(std::lround(c * 100), -127L, 127L)));
        c = codebook8.back();
      }
    }
    std::vector<int32_t> sums(n, 0);
    std::vector<double> weights(n * k);
    for (size_t i = 0; i < n * k; ++i) {
      const double scale = codebook8.empty() && !flagged ? 1 : scales[by_output ? i / k : 0];
      weights[i] = scale * codebook[indices[i]];
      sums[i / k] += static_cast<int32_t>(codebook[indices[i]]);
    }
    const std::vector<float> bias = Normal(n, spec.bias ? 1 : 0);
    tensors.push_back(interpreter.AddConstant(kTfLiteUInt8, packed, spec.shift));
    tensors.push_back(codebook8.empty() ? interpreter.AddConstant(kTfLiteFloat32, codebook, spec.shift)
                                        : interpreter.AddConstant(kTfLiteInt8, codebook8, spec.shift));
    const bool scaled = flagged || !codebook8.empty();
    tensors.push_back(scaled ? interpreter.AddConstant(kTfLiteFloat32, scales, spec.shift) : -1);
    tensors.push_back(int8 ? interpreter.AddConstant(kTfLiteInt32, sums, spec.shift) : -1);
    tensors.push_back(spec.bias ? interpreter.AddConstant(kTfLiteFloat32, bias, spec.shift) : -1);
    tensors.push_back(-1);
    found.push_back(Output(x, outputs));
    Expect([=, y = found.back()](Values* values) {
      const std::vector<double> in = int8 ? Rounded((*values)[x], k) : (*values)[x];
      std::vector<double>& out = (*values)[y];
      out.assign(in.size() / k * n, 0);
      for (size_t i = 0; i < out.size(); ++i) {
        double sum = bias[i % n];
        for (size_t j = 0; j < k; ++j) sum += in[i / n * k + j] * weights[i % n * k + j];
        out[i] = Activate(spec.activation, sum) + (spec.residual < 0 ? 0 : (*values)[spec.residual][i]);
      }
    });
  }
  if (spec.residual >= 0) tensors.push_back(spec.residual);
  const auto word = [](int value) { return static_cast<uint32_t>(value); };
  const FullyConnectedOptions options = {0,
                                         word(inputs),
                                         word(outputs),
                                         word(spec.bits),
                                         spec.computing,
                                         spec.activation,
                                         word(spec.segments),
                                         spec.residual >= 0 ? Residual::kAdded : Residual::kNone,
                                         flagged ? Flags::kScales : Flags::kNone};
  interpreter.AddNode("tfcompress.ClusteredFullyConnected", BytesOf(options), tensors, found);
  return found;
}

int PackedModel::Embedding(int ids, int rows, int width, int bits, bool int8_codebook, size_t shift,
                           bool scale_by_row) {
  const auto count = static_cast<size_t>(rows) * static_cast<size_t>(width);
  std::vector<uint8_t> indices(count);
  for (uint8_t& index : indices) index = static_cast<uint8_t>(random_() % (1U << bits));
  std::vector<float> codebook = Normal(size_t{1} << bits, 1);
  std::vector<float> scale{0.5F};
  while (scale_by_row && scale.size() < static_cast<size_t>(rows)) scale.push_back(scale.back() / 2 + 0.1F);
  std::vector<int8_t> codebook8;
  for (float& c : codebook) {
    if (!int8_codebook) break;
    codebook8.push_back(static_cast<int8_t>(std::clamp(c * 30, -127.0F, 127.0F)));
    c = codebook8.back();
  }
  const bool scaled = int8_codebook || scale_by_row;
  const std::vector<int> tensors{ids,
                                 interpreter.AddConstant(kTfLiteUInt8, PackRows(indices, rows, width, bits), shift),
                                 int8_codebook ? interpreter.AddConstant(kTfLiteInt8, codebook8, shift)
                                               : interpreter.AddConstant(kTfLiteFloat32, codebook, shift),
                                 scaled ? interpreter.AddConstant(kTfLiteFloat32, scale, shift) : -1, -1};
  Shape shape = ShapeOf(interpreter.tensor(ids));
  shape.push_back(width);
  const int y = interpreter.AddTensor(kTfLiteFloat32, shape);
  const auto word = [](int value) { return static_cast<uint32_t>(value); };
  const EmbeddingOptions options = {0, word(rows), word(width), word(bits),
                                    scale_by_row ? Flags::kScales : Flags::kNone};
  interpreter.AddNode("tfcompress.ClusteredEmbedding", BytesOf(options), tensors, {y});
  Expect([=](Values* values) {
    const TfLiteTensor& tensor = interpreter.tensor(ids);
    const auto* id = static_cast<const int32_t*>(tensor.data);
    for (size_t i = 0; i < tensor.bytes / sizeof(int32_t); ++i) {
      for (int c = 0; c < width; ++c) {
        const double one = scaled ? scale[scale_by_row ? static_cast<size_t>(id[i]) : 0] : 1;
        (*values)[y].push_back(one * codebook[indices[static_cast<size_t>(id[i] * width + c)]]);
      }
    }
  });
  return y;
}

int PackedModel::Attention(int q, int k, int v, int heads, int mask, Computing computing) {
  const auto d = static_cast<size_t>(ShapeOf(interpreter.tensor(q)).back());
  const float scale = 1 / std::sqrt(static_cast<float>(d / static_cast<size_t>(heads)));
  const int y = Output(q, static_cast<int>(d));
  std::vector<int> tensors{q, k, v};
  if (mask >= 0) tensors.push_back(mask);
  const AttentionOptions options = {0, static_cast<uint32_t>(heads), scale, computing, Flags::kNone};
  interpreter.AddNode("tfcompress.Attention", BytesOf(options), tensors, {y});
  Expect([=](Values* values) {
    const int length = ShapeOf(interpreter.tensor(inputs_.front()))[1];  // as it is at that time
    const auto tokens = static_cast<size_t>(length), width = d / heads;
    std::vector<double>& out = (*values)[y];
    out.assign((*values)[q].size(), 0);
    for (size_t row = 0; row < out.size() / d; ++row) {
      const size_t example = row / tokens * tokens;
      for (size_t c = 0; c < d; c += width) {
        std::vector<double> scores(tokens);
        double sum = 0;
        for (size_t j = 0; j < tokens; ++j) {
          for (size_t i = c; i < c + width; ++i)
            scores[j] += (*values)[q][row * d + i] * (*values)[k][(example + j) * d + i];
          scores[j] *= scale;
          if (mask >= 0) scores[j] += (*values)[mask][((*values)[mask].size() > tokens ? example : 0) + j];
        }
        const double largest = *std::max_element(scores.begin(), scores.end());
        for (double& score : scores) sum += score = std::exp(score - largest);
        for (size_t j = 0; j < tokens; ++j) {
          for (size_t i = c; i < c + width; ++i)
            out[row * d + i] += scores[j] / sum * (*values)[v][(example + j) * d + i];
        }
      }
    }
  });
  return y;
}

int PackedModel::LayerNorm(int x, size_t shift) {
  const int width = ShapeOf(interpreter.tensor(x)).back(), y = Output(x, width);
  const auto k = static_cast<size_t>(width);
  const std::vector<float> gamma = Normal(k, 1), beta = Normal(k, 1);
  const LayerNormOptions options = {0, 1e-6F, Flags::kNone};
  const int gammas = interpreter.AddConstant(kTfLiteFloat32, gamma, shift);
  const int betas = interpreter.AddConstant(kTfLiteFloat32, beta, shift);
  interpreter.AddNode("tfcompress.LayerNorm", BytesOf(options), {x, gammas, betas}, {y});
  Expect([=](Values* values) {
    const std::vector<double>& in = (*values)[x];
    std::vector<double> out;
    for (size_t row = 0; row < in.size(); row += k) {
      double mean = 0, variance = 0;
      for (size_t i = row; i < row + k; ++i) mean += in[i] / width;
      for (size_t i = row; i < row + k; ++i) variance += (in[i] - mean) * (in[i] - mean) / width;
      for (size_t i = 0; i < k; ++i) {
        out.push_back((in[row + i] - mean) / std::sqrt(variance + 1e-6) * gamma[i] + beta[i]);
      }
    }
    (*values)[y] = out;
  });
  return y;
}

int PackedModel::Copy(int x) {
  const int y = Output(x, ShapeOf(interpreter.tensor(x)).back());
  interpreter.AddNode("copy", {}, {x}, {y});
  Expect([=](Values* values) { (*values)[y] = (*values)[x]; });
  return y;
}

int PackedModel::EncoderLayer(int x, int heads, int mask, Computing computing) {
  const int width = ShapeOf(interpreter.tensor(x)).back();
  DenseSpec spec;
  spec.computing = computing;
  spec.outputs = width;
  spec.segments = 3;
  const std::vector<int> qkv = Dense(LayerNorm(x), spec);
  spec.segments = 1;
  spec.residual = x;
  const int middle = Dense(Attention(qkv[0], qkv[1], qkv[2], heads, mask, computing), spec)[0];
  spec.residual = -1;
  spec.activation = Activation::kGelu;
  spec.outputs = 4 * width;
  const int wide = Dense(LayerNorm(middle), spec)[0];
  spec.residual = middle;
  spec.activation = Activation::kNone;
  spec.outputs = width;
  return Dense(wide, spec)[0];
}

double PackedModel::Error(int output) {
  Values values;
  for (int input : inputs_) {
    const std::vector<float> given = interpreter.Get(input);
    values[input].assign(given.begin(), given.end());
  }
  for (const auto& step : steps_) step(&values);
  const std::vector<float> found = interpreter.Get(output);
  const std::vector<double>& expected = values[output];
  if (found.size() != expected.size()) return INFINITY;
  double largest = 0, difference = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    if (std::isnan(found[i])) return INFINITY;
    largest = std::max(largest, std::abs(expected[i]));
    difference = std::max(difference, std::abs(found[i] - expected[i]));
  }
  return difference / std::max(largest, 1e-30);
}

}  // namespace tfcompress
