#include "operators/attention.h"

#include <cmath>

#include "operators/checks.h"
#include "operators/parallel.h"

namespace tfcompress {
namespace {

constexpr int kMostParts = 4;   // of a head: each part packs the head's keys and values again
constexpr int kLeastRows = 32;  // of a part

// Divides heads into as many parts as it takes to keep all threads busy until the end.
int PartsPerHead(int heads, int tokens, int threads) {
  int parts = 1;
  while (parts < kMostParts && (heads * parts) % threads != 0 && heads * parts < 4 * threads &&
         tokens / (parts + 1) >= kLeastRows) {
    ++parts;
  }
  return parts;
}

}  // namespace

Refusal AttentionOperator::ReadNode(const TfLiteContext&, const TfLiteNode& node) {
  if (Refusal why = ReadOptions(node, &options_)) return why;
  if (Refusal why = CheckRange("heads", options_.heads, 1, kLargestSide)) return why;
  if (Refusal why = CheckEnum("computing", options_.computing, Computing::kInt8)) return why;
  if (!std::isfinite(options_.scale)) return Refuse("option scale is not finite");
  if (Refusal why = CheckCounts(node, kMask, kMask + 1, 1)) return why;
  inputs_.assign(node.inputs->data, node.inputs->data + node.inputs->size);
  if (HasMask() && inputs_[kMask] == kAbsent) inputs_.pop_back();
  return {};
}

Refusal AttentionOperator::InferOutput(const std::vector<Shape>& inputs, Shape* output) const {
  const Shape &q = inputs[kQuery], &k = inputs[kKey], &v = inputs[kValue];
  if (q.size() != 3 || k != q || v != q) {
    return Refuse("q, k and v have the shapes %s, %s and %s; expected the same shape (batch, tokens, width)",
                  TextOf(q).c_str(), TextOf(k).c_str(), TextOf(v).c_str());
  }
  const int batch = q[0], tokens = q[1], width = q[2], heads = static_cast<int>(options_.heads);
  if (width < heads || width > kLargestSide || width % heads != 0) {
    return Refuse("the width %d cannot be divided into %d heads", width, heads);
  }
  if (tokens > kLargestSide) return Refuse("there are %d tokens; at most %d are supported", tokens, kLargestSide);
  if (HasMask()) {
    size_t found = 0;
    if (Refusal why = CountElements(inputs[kMask], &found)) return why;
    const auto expected = static_cast<size_t>(tokens);
    if (found != expected && found != expected * static_cast<size_t>(batch)) {
      return Refuse("the mask has the shape %s; expected %zu elements, or %zu for each of %d examples",
                    TextOf(inputs[kMask]).c_str(), expected, expected, batch);
    }
  }
  *output = q;
  return {};
}

void AttentionOperator::Prepare(const std::vector<Shape>& inputs, const Kernels&, int threads) {
  const Shape& q = inputs[kQuery];
  const int tokens = q[1], width = q[2], heads = static_cast<int>(options_.heads);
  batch_ = tokens == 0 ? 0 : q[0];  // Without tokens there is nothing to do either.
  if (batch_ == 0) return;
  shape_ = {tokens, heads, width / heads, width, width, width, width, options_.scale};
  mask_stride_ = 0;
  if (HasMask()) {
    size_t elements = 0;
    CountElements(inputs[kMask], &elements);
    if (elements > static_cast<size_t>(tokens)) mask_stride_ = tokens;
  }
  parts_ = PartsPerHead(batch_ * heads, tokens, threads);
}

WorkspaceBytes AttentionOperator::NeededWorkspace(const Kernels& kernels) const {
  WorkspaceBytes bytes;
  if (batch_ > 0) bytes.scratch = (int8() ? kernels.attention_int8_scratch : kernels.attention_scratch)(shape_);
  return bytes;
}

Refusal AttentionOperator::Run(const Invocation& invocation) const {
  const auto attention = int8() ? invocation.kernels.attention_int8 : invocation.kernels.attention;
  const size_t example = static_cast<size_t>(shape_.tokens) * static_cast<size_t>(shape_.q_stride);
  const float* mask = HasMask() ? invocation.Input<float>(kMask) : nullptr;
  invocation.threads->Run(batch_ * shape_.heads * parts_, [&](int task, int thread) {
    const int part = task % parts_, head = task / parts_ % shape_.heads;
    const auto b = static_cast<size_t>(task / parts_ / shape_.heads);
    const AttentionData data = {
        invocation.Input<float>(kQuery) + b * example, invocation.Input<float>(kKey) + b * example,
        invocation.Input<float>(kValue) + b * example,
        mask == nullptr ? nullptr : mask + b * static_cast<size_t>(mask_stride_), invocation.Output(0) + b * example};
    const Range rows = PartOf(shape_.tokens, part, parts_);
    attention(shape_, data, head, rows.begin, rows.end, invocation.workspace.ScratchOf(thread));
  });
  return {};
}

}  // namespace tfcompress
