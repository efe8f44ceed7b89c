// Neighbouring operators of a graph that the interpreter sees as one node of the delegate: they run one after another
// without returning to the interpreter. Tensors that only they use lie in memory of their own; the interpreter sees
// the others.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "aligned.h"
#include "operators/operator.h"
#include "profile.h"
#include "refusal.h"
#include "runtime.h"
#include "tflite_abi.h"

namespace tfcompress {

class FusedOperators {
 public:
  // Reads and checks the operators of `nodes` and copies their constants. `outputs` are the tensors that the rest of
  // the graph reads. Returns null, with a reason, if that fails.
  static std::unique_ptr<FusedOperators> Make(TfLiteContext* context, const TfLiteIntArray& nodes,
                                              const TfLiteIntArray& outputs, std::shared_ptr<Runtime> runtime,
                                              Refusal* why);

  ~FusedOperators();  // Prints the profile, if there is one.

  // Gives the outputs their shapes and allocates the memory that inputs of their present shapes need.
  Refusal Prepare(TfLiteContext* context);

  // Allocates no memory.
  Refusal Invoke(TfLiteContext* context);

 private:
  struct Step {
    std::unique_ptr<Operator> op;
    std::vector<int> inputs, outputs;  // places in tensors_
  };

  struct Tensor {
    int number;       // in the graph
    int first, last;  // the steps that write it and that read it last; `first` is -1 if it comes from outside
    bool seen;        // by the interpreter
    Shape shape;
    size_t bytes;
  };

  explicit FusedOperators(std::shared_ptr<Runtime> runtime) : runtime_(std::move(runtime)) {}

  Refusal AddStep(TfLiteContext* context, int node, const TfLiteIntArray& outputs);
  Refusal InferShapes(const TfLiteContext& context);
  Refusal ResizeOutputs(TfLiteContext* context);
  Refusal AllocateMemory();
  Refusal FindData(const TfLiteContext& context);

  const std::shared_ptr<Runtime> runtime_;
  std::vector<Step> steps_;
  std::vector<Tensor> tensors_;
  std::unordered_map<int, int> places_;  // in tensors_, by number in the graph
  Profile profile_;

  std::shared_ptr<ThreadPool> threads_;
  std::vector<char*> data_;  // of tensors_
  Memory memory_;
  size_t memory_bytes_ = 0;
  Workspace workspace_{};
  bool ready_ = false;
};

}  // namespace tfcompress
