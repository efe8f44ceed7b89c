// Neighbouring operators of a graph that the interpreter sees as one node of the delegate: they run one after another
// without returning to the interpreter. Tensors that only they use lie in the memory of their graph; the interpreter
// sees the others.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "graph_memory.h"
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
    size_t offset;  // in memory_, if the interpreter does not see it
  };

  FusedOperators(std::shared_ptr<Runtime> runtime, std::shared_ptr<GraphMemory> memory)
      : runtime_(std::move(runtime)), memory_(std::move(memory)) {}

  Refusal AddStep(TfLiteContext* context, int node, const TfLiteIntArray& outputs);
  Refusal InferShapes(const TfLiteContext& context);
  Refusal ResizeOutputs(TfLiteContext* context);
  Refusal PlaceInMemory();
  Refusal FindData(const TfLiteContext& context);

  const std::shared_ptr<Runtime> runtime_;
  const std::shared_ptr<GraphMemory> memory_;
  std::vector<Step> steps_;
  std::vector<Tensor> tensors_;
  std::unordered_map<int, int> places_;  // in tensors_, by number in the graph
  Profile profile_;

  std::shared_ptr<ThreadPool> threads_;
  std::vector<char*> data_;                                       // of tensors_
  size_t quantized_ = 0, scales_ = 0, scratch_ = 0, needed_ = 0;  // three offsets in memory_, and its bytes
  Workspace workspace_{};
  bool ready_ = false;
};

}  // namespace tfcompress
