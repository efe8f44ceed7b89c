#include "operators/embedding.h"

#include <cstring>

#include "operators/checks.h"
#include "operators/parallel.h"

namespace tfcompress {
namespace {

constexpr int kLargestTable = 1 << 28;  // rows

}  // namespace

Refusal EmbeddingOperator::ReadNode(const TfLiteContext& context, const TfLiteNode& node) {
  EmbeddingOptions options;
  if (Refusal why = ReadOptions(node, &options, Flags::kScales)) return why;
  if (Refusal why = CheckRange("rows", options.rows, 1, kLargestTable)) return why;
  if (Refusal why = CheckRange("width", options.width, 1, kLargestSide)) return why;
  if (Refusal why = CheckRange("bits", options.bits, kLeastBits, kMostBits)) return why;
  constexpr int kInputs = 1 + kEmbeddingConstants;
  if (Refusal why = CheckCounts(node, kInputs, kInputs, 1)) return why;
  table_rows_ = static_cast<int>(options.rows);
  width_ = static_cast<int>(options.width);
  bits_ = static_cast<int>(options.bits);
  inputs_ = {node.inputs->data[0]};
  const int* constants = node.inputs->data + 1;
  tensors_ = {constants[kIndices], constants[kCodebook], constants[kScale]};
  scaled_ = options.flags == Flags::kScales;
  const WeightScales scales = {options.flags, scaled_ ? options.rows : 1};
  return CheckPackedWeights(context, tensors_, options.rows * PackedTableRowBytes(width_, bits_), bits_, false, scales);
}

bool EmbeddingOperator::AllocateConstants(const TfLiteContext& context) {
  indices_ = static_cast<const uint8_t*>(context.tensors[tensors_.indices].data);
  if (scaled_ && table_rows_ > 1) scales_ = static_cast<const char*>(context.tensors[tensors_.scale].data);
  return CopyFloatCentroids(context, tensors_, bits_, &centroids_);
}

Refusal EmbeddingOperator::InferOutput(const std::vector<Shape>& inputs, Shape* output) const {
  *output = inputs[0];
  output->push_back(width_);
  return {};
}

void EmbeddingOperator::Prepare(const std::vector<Shape>& inputs, const Kernels&, int) { ids_ = RowsOf(inputs[0], 1); }

WorkspaceBytes EmbeddingOperator::NeededWorkspace(const Kernels&) const {
  WorkspaceBytes bytes;
  if (ids_ > 0) bytes.scratch = static_cast<size_t>(RoundUp(width_, 8));  // the indices of one row
  return bytes;
}

Refusal EmbeddingOperator::Run(const Invocation& invocation) const {
  const auto* ids = invocation.Input<int32_t>(0);
  for (int i = 0; i < ids_; ++i) {
    if (ids[i] < 0 || ids[i] >= table_rows_) {
      return Named(Refuse("id %d at position %d is not in the table of %d rows", ids[i], i, table_rows_));
    }
  }
  const size_t bytes = PackedTableRowBytes(width_, bits_);
  const float* centroids = centroids_.data();
  float* y = invocation.Output(0);
  ForRows(ids_, width_, invocation.threads, [&](int begin, int end, int thread) {
    auto* indices = reinterpret_cast<uint8_t*>(invocation.workspace.ScratchOf(thread));
    for (int i = begin; i < end; ++i) {
      UnpackTableRow(indices_ + static_cast<size_t>(ids[i]) * bytes, width_, bits_, indices);
      float* to = y + static_cast<size_t>(i) * static_cast<size_t>(width_);
      for (int c = 0; c < width_; ++c) to[c] = centroids[indices[c]];
      if (scales_ == nullptr) continue;
      float scale;
      memcpy(&scale, scales_ + static_cast<size_t>(ids[i]) * sizeof(scale), sizeof(scale));
      for (int c = 0; c < width_; ++c) to[c] *= scale;
    }
  });
  return {};
}

}  // namespace tfcompress
