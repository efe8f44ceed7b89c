// tfcompress.Attention: softmax attention, one head at a time.
#pragma once

#include <vector>

#include "format.h"
#include "operators/operator.h"

namespace tfcompress {

class AttentionOperator : public Operator {
 public:
  static constexpr char kName[] = "tfcompress.Attention";

  explicit AttentionOperator(int node) : Operator(kName, node) {}

  void Prepare(const std::vector<Shape>& inputs, const Kernels& kernels, int threads) override;
  WorkspaceBytes NeededWorkspace(const Kernels& kernels) const override;
  Refusal Run(const Invocation& invocation) const override;

 protected:
  Refusal ReadNode(const TfLiteContext& context, const TfLiteNode& node) override;
  bool AllocateConstants(const TfLiteContext&) override { return true; }
  Refusal InferOutput(const std::vector<Shape>& inputs, Shape* output) const override;

 private:
  bool int8() const { return options_.computing == Computing::kInt8; }
  bool HasMask() const { return inputs_.size() > kMask; }

  enum Input : size_t { kQuery, kKey, kValue, kMask };

  AttentionOptions options_{};

  // From the last Prepare.
  AttentionShape shape_{};  // of one example
  int batch_ = 0;
  int mask_stride_ = 0;  // from one example's mask to the next; 0 where all share one
  int parts_ = 1;        // into which the query rows of a head are divided
};

}  // namespace tfcompress
