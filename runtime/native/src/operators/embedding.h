// tfcompress.ClusteredEmbedding: rows of a packed table, looked up by id.
#pragma once

#include <vector>

#include "aligned.h"
#include "format.h"
#include "operators/constants.h"
#include "operators/operator.h"

namespace tfcompress {

class EmbeddingOperator : public Operator {
 public:
  static constexpr char kName[] = "tfcompress.ClusteredEmbedding";

  explicit EmbeddingOperator(int node) : Operator(kName, node) {}

  void Prepare(const std::vector<Shape>& inputs, const Kernels& kernels, int threads) override;
  WorkspaceBytes NeededWorkspace(const Kernels& kernels) const override;
  Refusal Run(const Invocation& invocation) const override;  // Refuses ids that are not in the table.

 protected:
  Refusal ReadNode(const TfLiteContext& context, const TfLiteNode& node) override;
  int InputType() const override { return kTfLiteInt32; }
  bool AllocateConstants(const TfLiteContext& context) override;
  Refusal InferOutput(const std::vector<Shape>& inputs, Shape* output) const override;

 private:
  int table_rows_ = 0, width_ = 0, bits_ = 0;
  PackedWeights tensors_{};
  bool scaled_ = false;               // by row
  const uint8_t* indices_ = nullptr;  // in the file
  const char* scales_ = nullptr;      // by row, in the file, at any address; null if the centroids are the values
  AlignedArray<float> centroids_;     // 2^bits_, times the scale if there is a single one
  int ids_ = 0;
};

}  // namespace tfcompress
