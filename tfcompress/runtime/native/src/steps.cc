#include "steps.h"

#include <algorithm>

namespace tfcompress {
namespace {

// Below these it costs more to wake threads than they save.
constexpr size_t kLeastProducts = size_t{1} << 19;
constexpr size_t kLeastElements = size_t{1} << 17;
constexpr int kMostParts = 4;   // of a head: each part packs its keys and values again
constexpr int kLeastRows = 32;  // of a part

struct Range {
  int begin, end;
};

// Part `part` of `parts` of [0, count).
Range PartOf(int count, int part, int parts) {
  const auto at = [count, parts](int i) { return static_cast<int>(static_cast<int64_t>(count) * i / parts); };
  return {at(part), at(part + 1)};
}

bool Int8(const Step& step) {
  const uint32_t computing = step.op.kind == Kind::kAttention ? step.op.attention.computing : step.op.dense.computing;
  return computing == static_cast<uint32_t>(Computing::kInt8);
}

int Panels(const DenseWeights& weights, const Kernels& kernels) {
  return (weights.outputs + kernels.panel - 1) / kernels.panel;
}

// The outputs that a part of a dense layer computes.
Range OutputsOf(const DenseWeights& weights, const Kernels& kernels, int part, int parts) {
  const Range panels = PartOf(Panels(weights, kernels), part, parts);
  return {panels.begin * kernels.panel, std::min(panels.end * kernels.panel, weights.outputs)};
}

// The first panel that whoever computes `part` needs after segment `segment`.
Next NextOf(const Step& step, const Kernels& kernels, size_t segment, int part) {
  const Step* next = segment + 1 < step.layers.size() ? &step : step.next_dense;
  if (next == nullptr) return {nullptr, 0};
  const DenseWeights& weights = next->layers[next == &step ? segment + 1 : 0].weights;
  const Range outputs = OutputsOf(weights, kernels, std::min(part, next->parts - 1), next->parts);
  const size_t block = BlockBytes(weights.inputs, weights.bits);
  const int panel = std::min(kernels.panel, weights.outputs - outputs.begin);
  return {weights.indices + static_cast<size_t>(outputs.begin / kBlockOutputs) * block,
          static_cast<size_t>(RoundUp(panel, kBlockOutputs) / kBlockOutputs) * block};
}

// Calls body(begin, end, thread) for all rows.
template <typename Body>
void ForRows(int rows, int width, ThreadPool* threads, const Body& body) {
  const bool small = static_cast<size_t>(rows) * static_cast<size_t>(width) < kLeastElements;
  const int parts = small ? 1 : std::min(rows, threads->threads());
  threads->Run(parts, [&](int part, int thread) {
    const Range range = PartOf(rows, part, parts);
    body(range.begin, range.end, thread);
  });
}

void RunDense(const Step& step, const Kernels& kernels, ThreadPool* threads, char* const* data,
              const Workspace& workspace) {
  const auto* x = reinterpret_cast<const float*>(data[step.inputs[0]]);
  const float* residual = step.inputs.size() > 1 ? reinterpret_cast<const float*>(data[step.inputs[1]]) : nullptr;
  const bool int8 = Int8(step);
  if (int8) {
    const auto stride = static_cast<size_t>(QuantizedStride(step.width));
    ForRows(step.rows, step.width, threads, [&](int begin, int end, int) {
      kernels.quantize_rows(x + static_cast<size_t>(begin) * step.width, end - begin, step.width,
                            workspace.quantized + static_cast<size_t>(begin) * stride, workspace.scales + begin);
    });
  }
  threads->Run(step.parts, [&](int part, int thread) {
    char* scratch = workspace.scratch + static_cast<size_t>(thread) * workspace.scratch_bytes;
    for (size_t s = 0; s < step.layers.size(); ++s) {
      const DenseWeights& weights = step.layers[s].weights;
      const Range outputs = OutputsOf(weights, kernels, part, step.parts);
      auto* y = reinterpret_cast<float*>(data[step.outputs[s]]);
      const Next next = NextOf(step, kernels, s, part);
      if (int8) {
        kernels.dense_int8(weights, workspace.quantized, workspace.scales, step.rows, outputs.begin, outputs.end,
                           residual, y, scratch, next);
      } else {
        kernels.dense(weights, x, step.rows, outputs.begin, outputs.end, residual, y, scratch, next);
      }
    }
  });
}

void RunAttention(const Step& step, const Kernels& kernels, ThreadPool* threads, char* const* data,
                  const Workspace& workspace) {
  const AttentionShape& shape = step.attention;
  const auto attention = Int8(step) ? kernels.attention_int8 : kernels.attention;
  const size_t example = static_cast<size_t>(shape.tokens) * static_cast<size_t>(step.width);
  const auto floats = [&](int tensor) { return reinterpret_cast<float*>(data[tensor]); };
  const float* mask = step.inputs.size() > 3 ? floats(step.inputs[3]) : nullptr;
  threads->Run(step.batch * shape.heads * step.parts, [&](int task, int thread) {
    const int part = task % step.parts, head = task / step.parts % shape.heads;
    const auto b = static_cast<size_t>(task / step.parts / shape.heads);
    const AttentionData here = {floats(step.inputs[0]) + b * example, floats(step.inputs[1]) + b * example,
                                floats(step.inputs[2]) + b * example,
                                mask == nullptr ? nullptr : mask + b * static_cast<size_t>(step.mask_stride),
                                floats(step.outputs[0]) + b * example};
    const Range rows = PartOf(shape.tokens, part, step.parts);
    char* scratch = workspace.scratch + static_cast<size_t>(thread) * workspace.scratch_bytes;
    attention(shape, here, head, rows.begin, rows.end, scratch);
  });
}

void RunLayerNorm(const Step& step, const Kernels& kernels, ThreadPool* threads, char* const* data) {
  const auto* x = reinterpret_cast<const float*>(data[step.inputs[0]]);
  auto* y = reinterpret_cast<float*>(data[step.outputs[0]]);
  ForRows(step.rows, step.width, threads, [&](int begin, int end, int) {
    const size_t at = static_cast<size_t>(begin) * static_cast<size_t>(step.width);
    kernels.layer_norm(x + at, end - begin, step.width, step.norm.gamma.data(), step.norm.beta.data(),
                       step.op.layer_norm.epsilon, y + at);
  });
}

Refusal RunEmbedding(const Step& step, ThreadPool* threads, char* const* data, const Workspace& workspace) {
  const auto* ids = reinterpret_cast<const int32_t*>(data[step.inputs[0]]);
  const EmbeddingTable& table = step.table;
  for (int row = 0; row < step.rows; ++row) {
    if (ids[row] < 0 || ids[row] >= table.rows) {
      return Refuse("%s (node %d): id %d at place %d is no row of a table of %d", NameOf(step.op.kind), step.op.node,
                    ids[row], row, table.rows);
    }
  }
  const size_t bytes = RowBytes(table.width, table.bits);
  const float* centroids = table.centroids.data();
  auto* y = reinterpret_cast<float*>(data[step.outputs[0]]);
  ForRows(step.rows, table.width, threads, [&](int begin, int end, int thread) {
    char* scratch = workspace.scratch + static_cast<size_t>(thread) * workspace.scratch_bytes;
    auto* indices = reinterpret_cast<uint8_t*>(scratch);
    for (int row = begin; row < end; ++row) {
      UnpackRow(table.indices + static_cast<size_t>(ids[row]) * bytes, table.width, table.bits, indices);
      float* to = y + static_cast<size_t>(row) * static_cast<size_t>(table.width);
      for (int i = 0; i < table.width; ++i) to[i] = centroids[indices[i]];
    }
  });
  return {};
}

// Into how many parts heads are cut, so that all threads have work to the end.
int AttentionParts(int heads, int tokens, int threads) {
  int parts = 1;
  while (parts < kMostParts && (heads * parts) % threads != 0 && heads * parts < 4 * threads &&
         tokens / (parts + 1) >= kLeastRows) {
    ++parts;
  }
  return parts;
}

}  // namespace

void SetSizes(const std::vector<Shape>& inputs, const Kernels& kernels, int threads, Step* step) {
  const Shape& x = inputs[0];
  step->width = step->op.kind == Kind::kEmbedding ? 1 : x.back();
  size_t elements = 0;
  CountElements(x, &elements);
  step->rows = static_cast<int>(elements / static_cast<size_t>(step->width));
  step->parts = 1;
  if (elements == 0) return;  // Nothing will be run.
  if (step->op.kind == Kind::kFullyConnected) {
    const auto products = elements * step->op.dense.outputs * step->layers.size();
    const int panels = Panels(step->layers[0].weights, kernels);
    if (products >= kLeastProducts) step->parts = std::min(panels, threads);
  } else if (step->op.kind == Kind::kAttention) {
    const int heads = static_cast<int>(step->op.attention.heads), d = step->width;
    step->batch = x[0];
    step->attention = {x[1], heads, d / heads, d, d, d, d, step->op.attention.scale};
    step->mask_stride = 0;
    if (inputs.size() > 3) {
      size_t mask = 0;
      CountElements(inputs[3], &mask);
      if (mask > static_cast<size_t>(x[1])) step->mask_stride = x[1];
    }
    step->parts = AttentionParts(step->batch * heads, x[1], threads);
  }
}

size_t QuantizedBytes(const Step& step) {
  if (step.op.kind != Kind::kFullyConnected || !Int8(step)) return 0;
  return static_cast<size_t>(step.rows) * static_cast<size_t>(QuantizedStride(step.width));
}

size_t ScaleBytes(const Step& step) {
  if (step.op.kind != Kind::kFullyConnected || !Int8(step)) return 0;
  return static_cast<size_t>(step.rows) * sizeof(RowScale);
}

size_t ScratchBytes(const Step& step, const Kernels& kernels) {
  if (step.rows == 0) return 0;
  size_t bytes = 0;
  switch (step.op.kind) {
    case Kind::kFullyConnected:
      for (const DenseLayer& layer : step.layers) {
        const auto scratch = Int8(step) ? kernels.dense_int8_scratch : kernels.dense_scratch;
        bytes = std::max(bytes, scratch(layer.weights, step.rows));
      }
      return bytes;
    case Kind::kAttention:
      return (Int8(step) ? kernels.attention_int8_scratch : kernels.attention_scratch)(step.attention);
    case Kind::kEmbedding:
      return static_cast<size_t>(RoundUp(step.table.width, 8));
    case Kind::kLayerNorm:
      return 0;
  }
  return 0;
}

Refusal Run(const Step& step, const Kernels& kernels, ThreadPool* threads, char* const* data,
            const Workspace& workspace) {
  if (step.rows == 0) return {};
  switch (step.op.kind) {
    case Kind::kFullyConnected:
      RunDense(step, kernels, threads, data, workspace);
      return {};
    case Kind::kAttention:
      RunAttention(step, kernels, threads, data, workspace);
      return {};
    case Kind::kLayerNorm:
      RunLayerNorm(step, kernels, threads, data);
      return {};
    case Kind::kEmbedding:
      return RunEmbedding(step, threads, data, workspace);
  }
  return {};
}

}  // namespace tfcompress
