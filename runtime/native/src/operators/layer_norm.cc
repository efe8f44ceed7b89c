#include "operators/layer_norm.h"

#include <cmath>

#include "operators/checks.h"
#include "operators/constants.h"
#include "operators/parallel.h"

namespace tfcompress {

Refusal LayerNormOperator::ReadNode(const TfLiteContext& context, const TfLiteNode& node) {
  if (Refusal why = ReadOptions(node, &options_)) return why;
  if (!(options_.epsilon >= 0 && std::isfinite(options_.epsilon))) {
    return Refuse("option epsilon is %g; expected a finite number of at least 0",
                  static_cast<double>(options_.epsilon));
  }
  if (Refusal why = CheckCounts(node, 3, 3, 1)) return why;
  inputs_ = {node.inputs->data[0]};
  gamma_tensor_ = node.inputs->data[1];
  beta_tensor_ = node.inputs->data[2];
  const TfLiteTensor* gamma = TensorAt(context, gamma_tensor_);
  const Shape shape = gamma == nullptr ? Shape{} : ShapeOf(*gamma);
  if (shape.size() != 1 || shape[0] < 1 || shape[0] > kLargestSide) {
    return Refuse("gamma (tensor %d) is %s; expected 1 to %d values", gamma_tensor_, TextOf(shape).c_str(),
                  kLargestSide);
  }
  width_ = shape[0];
  const auto width = static_cast<size_t>(width_);
  if (Refusal why = CheckConstant(context, gamma_tensor_, "gammas", kTfLiteFloat32, width)) return why;
  return CheckConstant(context, beta_tensor_, "betas", kTfLiteFloat32, width);
}

bool LayerNormOperator::AllocateConstants(const TfLiteContext& context) {
  const auto padded = static_cast<size_t>(RoundUp(width_, kPadding));
  return CopyPadded(context.tensors[gamma_tensor_], padded, &gamma_) &&
         CopyPadded(context.tensors[beta_tensor_], padded, &beta_);
}

Refusal LayerNormOperator::InferOutput(const std::vector<Shape>& inputs, Shape* output) const {
  *output = inputs[0];
  return CheckRows(inputs[0], width_);
}

void LayerNormOperator::Prepare(const std::vector<Shape>& inputs, const Kernels&, int) {
  rows_ = RowsOf(inputs[0], width_);
}

Refusal LayerNormOperator::Run(const Invocation& invocation) const {
  const float* x = invocation.Input<float>(0);
  float* y = invocation.Output(0);
  ForRows(rows_, width_, invocation.threads, [&](int begin, int end, int) {
    const size_t at = static_cast<size_t>(begin) * static_cast<size_t>(width_);
    invocation.kernels.layer_norm(x + at, end - begin, width_, gamma_.data(), beta_.data(), options_.epsilon, y + at);
  });
  return {};
}

}  // namespace tfcompress
