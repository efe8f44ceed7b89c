// tfcompress.ClusteredFullyConnected: dense layers of the same input, each of which is a segment.
#pragma once

#include <string>
#include <vector>

#include "aligned.h"
#include "format.h"
#include "operators/constants.h"
#include "operators/operator.h"
#include "operators/parallel.h"

namespace tfcompress {

class DenseOperator : public Operator {
 public:
  static constexpr char kName[] = "tfcompress.ClusteredFullyConnected";

  explicit DenseOperator(int node) : Operator(kName, node) {}

  void Prepare(const std::vector<Shape>& inputs, const Kernels& kernels, int threads) override;
  WorkspaceBytes NeededWorkspace(const Kernels& kernels) const override;
  Refusal Run(const Invocation& invocation) const override;
  std::string Label() const override;
  Upcoming FirstPanel(const Kernels& kernels, int part) const override;

 protected:
  Refusal ReadNode(const TfLiteContext& context, const TfLiteNode& node) override;
  bool AllocateConstants(const TfLiteContext& context) override;
  Refusal InferOutput(const std::vector<Shape>& inputs, Shape* output) const override;

 private:
  // A dense layer.
  struct Segment {
    // Tensors, by their numbers in the graph.
    PackedWeights packed;
    int sums, bias;

    // For the compute kernels. `weights` points into the arrays.
    DenseWeights weights;
    AlignedArray<float> centroids, bias_by_output, scale, offset;
    AlignedArray<int8_t> centroids8;
  };

  bool AllocateSegment(const TfLiteContext& context, Segment* segment) const;
  bool AllocateInt8(const TfLiteContext& context, Segment* segment) const;
  bool AllocateFloat(const TfLiteContext& context, Segment* segment) const;
  bool int8() const { return computing_ == Computing::kInt8; }
  int Panels(const Kernels& kernels) const;
  Range OutputsOf(const Kernels& kernels, int part) const;
  Upcoming PanelOf(const Kernels& kernels, size_t segment, int part) const;

  int width_ = 0, outputs_per_segment_ = 0, bits_ = 0;
  Computing computing_{};
  Activation activation_{};
  std::vector<Segment> segments_;

  // From the last Prepare.
  int rows_ = 0;
  int parts_ = 1;  // into which the outputs of each segment are divided, at panels
};

}  // namespace tfcompress
