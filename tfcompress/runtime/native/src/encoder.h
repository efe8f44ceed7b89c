// One kernel of the delegate: neighbouring operators of the graph, run one after another without the interpreter.
// Tensors between them lie in the kernel's own memory; the interpreter sees only what comes in and what goes out.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "aligned.h"
#include "profile.h"
#include "refusal.h"
#include "runtime.h"
#include "steps.h"
#include "tflite_abi.h"

namespace tfcompress {

class Encoder {
 public:
  // Reads and checks the operators of `nodes` and prepares their constants. `outputs` are the tensors that others read.
  static std::unique_ptr<Encoder> Make(TfLiteContext* context, const TfLiteIntArray& nodes,
                                       const TfLiteIntArray& outputs, std::shared_ptr<Runtime> runtime, Refusal* why);

  ~Encoder();  // Prints the profile, if there is one.

  // Gives the outputs their shapes and takes the memory that inputs of their present shapes need.
  Refusal Prepare(TfLiteContext* context);

  // Takes no memory.
  Refusal Invoke(TfLiteContext* context);

 private:
  struct Tensor {
    int number;       // in the graph
    int first, last;  // steps that write and read it; first is -1 for what comes in
    bool seen;        // by the interpreter
    Shape shape;
    size_t bytes;
  };

  explicit Encoder(std::shared_ptr<Runtime> runtime) : runtime_(std::move(runtime)) {}

  Refusal AddStep(TfLiteContext* context, int node, const TfLiteIntArray& outputs);
  Refusal InferShapes(const TfLiteContext& context);
  Refusal ResizeOutputs(TfLiteContext* context);
  Refusal TakeMemory();
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
