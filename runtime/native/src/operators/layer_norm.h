// tfcompress.LayerNorm: layer normalization of rows.
#pragma once

#include <vector>

#include "aligned.h"
#include "format.h"
#include "operators/operator.h"

namespace tfcompress {

class LayerNormOperator : public Operator {
 public:
  static constexpr char kName[] = "tfcompress.LayerNorm";

  explicit LayerNormOperator(int node) : Operator(kName, node) {}

  void Prepare(const std::vector<Shape>& inputs, const Kernels& kernels, int threads) override;
  Refusal Run(const Invocation& invocation) const override;

 protected:
  Refusal ReadNode(const TfLiteContext& context, const TfLiteNode& node) override;
  bool AllocateConstants(const TfLiteContext& context) override;
  Refusal InferOutput(const std::vector<Shape>& inputs, Shape* output) const override;

 private:
  LayerNormOptions options_{};
  int gamma_tensor_ = kAbsent, beta_tensor_ = kAbsent;  // by their numbers in the graph
  int width_ = 0;
  AlignedArray<float> gamma_, beta_;
  int rows_ = 0;
};

}  // namespace tfcompress
