#include "operators/dense.h"

#include <algorithm>
#include <utility>

#include "operators/checks.h"

namespace tfcompress {
namespace {

constexpr int kMostSegments = 16;

// With fewer products than this, waking threads costs more time than they save.
constexpr size_t kLeastParallelProducts = size_t{1} << 19;

}  // namespace

// ---- reading ----

Refusal DenseOperator::ReadNode(const TfLiteContext& context, const TfLiteNode& node) {
  FullyConnectedOptions options;
  if (Refusal why = ReadOptions(node, &options, Flags::kScales)) return why;
  if (Refusal why = CheckRange("inputs", options.inputs, 1, kLargestSide)) return why;
  if (Refusal why = CheckRange("outputs", options.outputs, 1, kLargestSide)) return why;
  if (Refusal why = CheckRange("bits", options.bits, kLeastBits, kMostBits)) return why;
  if (Refusal why = CheckEnum("computing", options.computing, Computing::kInt8)) return why;
  if (Refusal why = CheckEnum("activation", options.activation, Activation::kTanh)) return why;
  if (Refusal why = CheckRange("segments", options.segments, 1, kMostSegments)) return why;
  if (Refusal why = CheckEnum("residual", options.residual, Residual::kAdded)) return why;
  width_ = static_cast<int>(options.inputs);
  outputs_per_segment_ = static_cast<int>(options.outputs);
  bits_ = static_cast<int>(options.bits);
  computing_ = options.computing;
  activation_ = options.activation;
  const int segments = static_cast<int>(options.segments);
  const bool residual = options.residual == Residual::kAdded;
  const int expected = 1 + kDenseConstants * segments + (residual ? 1 : 0);
  if (Refusal why = CheckCounts(node, expected, expected, segments)) return why;
  const size_t bytes = PackedMatrixBytes(outputs_per_segment_, width_, bits_), outputs = options.outputs;
  for (int s = 0; s < segments; ++s) {
    const int* constants = node.inputs->data + 1 + kDenseConstants * s;
    Segment segment{};
    segment.packed = {constants[kIndices], constants[kCodebook], constants[kScale]};
    segment.sums = constants[kSums];
    segment.bias = constants[kBias];
    if (Refusal why = CheckPackedWeights(context, segment.packed, bytes, bits_, int8(), {options.flags, outputs})) {
      return why;
    }
    if (int8()) {
      if (Refusal why = CheckConstant(context, segment.sums, "sums", kTfLiteInt32, outputs)) return why;
    }
    if (segment.bias != kAbsent) {
      if (Refusal why = CheckConstant(context, segment.bias, "biases", kTfLiteFloat32, outputs)) return why;
    }
    segments_.push_back(std::move(segment));
  }
  inputs_ = {node.inputs->data[0]};
  if (residual) inputs_.push_back(node.inputs->data[expected - 1]);
  return {};
}

// ---- constants ----

bool DenseOperator::AllocateConstants(const TfLiteContext& context) {
  for (Segment& segment : segments_) {
    if (!AllocateSegment(context, &segment)) return false;
  }
  return true;
}

bool DenseOperator::AllocateSegment(const TfLiteContext& context, Segment* segment) const {
  if (!(int8() ? AllocateInt8(context, segment) : AllocateFloat(context, segment))) return false;
  const auto padded = static_cast<size_t>(RoundUp(outputs_per_segment_, kPadding));
  if (segment->bias == kAbsent) {
    segment->bias_by_output = AlignedArray<float>(padded);
    if (segment->bias_by_output.data() == nullptr) return false;
  } else if (!CopyPadded(context.tensors[segment->bias], padded, &segment->bias_by_output)) {
    return false;
  }
  DenseWeights& weights = segment->weights;
  weights.inputs = width_;
  weights.outputs = outputs_per_segment_;
  weights.bits = bits_;
  weights.activation = activation_;
  weights.indices = static_cast<const uint8_t*>(context.tensors[segment->packed.indices].data);
  weights.centroids = segment->centroids.data();
  weights.centroids8 = segment->centroids8.data();
  weights.bias = segment->bias_by_output.data();
  weights.scale = segment->scale.data();
  weights.offset = segment->offset.data();
  return true;
}

bool DenseOperator::AllocateInt8(const TfLiteContext& context, Segment* segment) const {
  const TfLiteTensor& scales = context.tensors[segment->packed.scale];
  const TfLiteTensor& sums = context.tensors[segment->sums];
  const auto padded = static_cast<size_t>(RoundUp(outputs_per_segment_, kPadding));
  if (!CopyPadded(context.tensors[segment->packed.codebook], size_t{1} << bits_, &segment->centroids8)) return false;
  segment->scale = AlignedArray<float>(padded);
  segment->offset = AlignedArray<float>(padded);
  if (segment->scale.data() == nullptr || segment->offset.data() == nullptr) return false;
  const bool one = LengthOf(scales) == 1;
  for (size_t n = 0; n < static_cast<size_t>(outputs_per_segment_); ++n) {
    segment->scale[n] = ValueAt<float>(scales, one ? 0 : n);
    segment->offset[n] = segment->scale[n] * static_cast<float>(ValueAt<int32_t>(sums, n));
  }
  return true;
}

bool DenseOperator::AllocateFloat(const TfLiteContext& context, Segment* segment) const {
  if (!CopyFloatCentroids(context, segment->packed, bits_, &segment->centroids)) return false;
  const int scale = segment->packed.scale;
  if (scale == kAbsent || LengthOf(context.tensors[scale]) == 1) return true;
  const auto padded = static_cast<size_t>(RoundUp(outputs_per_segment_, kPadding));
  return CopyPadded(context.tensors[scale], padded, &segment->scale);
}

// ---- shapes ----

Refusal DenseOperator::InferOutput(const std::vector<Shape>& inputs, Shape* output) const {
  if (Refusal why = CheckRows(inputs[0], width_)) return why;
  *output = inputs[0];
  output->back() = outputs_per_segment_;
  if (inputs.size() > 1 && inputs[1] != *output) {
    return Refuse("the residual has the shape %s; expected %s", TextOf(inputs[1]).c_str(), TextOf(*output).c_str());
  }
  return {};
}

void DenseOperator::Prepare(const std::vector<Shape>& inputs, const Kernels& kernels, int threads) {
  rows_ = RowsOf(inputs[0], width_);
  const size_t products = static_cast<size_t>(rows_) * static_cast<size_t>(width_) *
                          static_cast<size_t>(outputs_per_segment_) * segments_.size();
  parts_ = products >= kLeastParallelProducts ? std::min(Panels(kernels), threads) : 1;
}

WorkspaceBytes DenseOperator::NeededWorkspace(const Kernels& kernels) const {
  WorkspaceBytes bytes;
  if (rows_ == 0) return bytes;
  const auto rows = static_cast<size_t>(rows_);
  if (int8()) {
    bytes.quantized = rows * static_cast<size_t>(QuantizedStride(width_));
    bytes.scales = rows * sizeof(RowScale);
  }
  for (const Segment& segment : segments_) {
    const auto scratch = int8() ? kernels.dense_int8_scratch : kernels.dense_scratch;
    bytes.scratch = std::max(bytes.scratch, scratch(segment.weights, rows_));
  }
  return bytes;
}

// ---- running ----

int DenseOperator::Panels(const Kernels& kernels) const {
  return (outputs_per_segment_ + kernels.panel_outputs - 1) / kernels.panel_outputs;
}

Range DenseOperator::OutputsOf(const Kernels& kernels, int part) const {
  const Range panels = PartOf(Panels(kernels), part, parts_);
  return {panels.begin * kernels.panel_outputs, std::min(panels.end * kernels.panel_outputs, outputs_per_segment_)};
}

Upcoming DenseOperator::PanelOf(const Kernels& kernels, size_t segment, int part) const {
  const int begin = OutputsOf(kernels, std::min(part, parts_ - 1)).begin;
  const int outputs = std::min(kernels.panel_outputs, outputs_per_segment_ - begin);
  const size_t row_bytes = PackedBlockRowBytes(width_, bits_);
  return {segments_[segment].weights.indices + static_cast<size_t>(begin / kPackedBlockOutputs) * row_bytes,
          static_cast<size_t>(RoundUp(outputs, kPackedBlockOutputs) / kPackedBlockOutputs) * row_bytes};
}

Upcoming DenseOperator::FirstPanel(const Kernels& kernels, int part) const { return PanelOf(kernels, 0, part); }

Refusal DenseOperator::Run(const Invocation& invocation) const {
  if (rows_ == 0) return {};
  const Kernels& kernels = invocation.kernels;
  const Workspace& workspace = invocation.workspace;
  const float* x = invocation.Input<float>(0);
  const float* residual = inputs().size() > 1 ? invocation.Input<float>(1) : nullptr;
  if (int8()) {
    const auto stride = static_cast<size_t>(QuantizedStride(width_));
    ForRows(rows_, width_, invocation.threads, [&](int begin, int end, int) {
      const auto at = static_cast<size_t>(begin);
      kernels.quantize_rows(x + at * static_cast<size_t>(width_), end - begin, width_,
                            workspace.quantized + at * stride, workspace.scales + at);
    });
  }
  invocation.threads->Run(parts_, [&](int part, int thread) {
    const Range outputs = OutputsOf(kernels, part);
    char* scratch = workspace.ScratchOf(thread);
    for (size_t s = 0; s < segments_.size(); ++s) {
      const bool last = s + 1 == segments_.size();
      const Upcoming next = last ? Operator::FirstPanel(kernels, part) : PanelOf(kernels, s + 1, part);
      const DenseTask task = {
          segments_[s].weights, x,        workspace.quantized,  workspace.scales, rows_, outputs.begin,
          outputs.end,          residual, invocation.Output(s), scratch,          next};
      (int8() ? kernels.dense_int8 : kernels.dense)(task);
    }
  });
  return {};
}

std::string DenseOperator::Label() const {
  std::string label = Operator::Label() + " " + std::to_string(width_) + " to ";
  if (segments_.size() > 1) label += std::to_string(static_cast<int>(segments_.size())) + " x ";
  return label + std::to_string(outputs_per_segment_);
}

}  // namespace tfcompress
