// As much of a TFLite interpreter as a delegate sees, for tests and the fuzzer. Each tensor has memory of exactly its
// size, so that a sanitizer notices each byte that is read or written beyond it.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "shape.h"
#include "tflite_abi.h"

namespace tfcompress {

class FakeInterpreter {
 public:
  FakeInterpreter();
  ~FakeInterpreter();
  FakeInterpreter(const FakeInterpreter&) = delete;
  FakeInterpreter& operator=(const FakeInterpreter&) = delete;

  // A tensor that is fed or computed.
  int AddTensor(int type, const Shape& shape);

  // A constant whose first byte is `shift` bytes after a multiple of 64.
  int AddConstant(int type, const Shape& shape, const void* data, size_t bytes, size_t shift = 0);

  template <typename T>
  int AddConstant(int type, const std::vector<T>& values, size_t shift = 0) {
    return AddConstant(type, {static_cast<int>(values.size())}, values.data(), values.size() * sizeof(T), shift);
  }

  // Nodes run in the order in which they are added. The only operator besides ours is "copy".
  int AddNode(const std::string& name, const std::vector<uint8_t>& options, const std::vector<int>& inputs,
              const std::vector<int>& outputs);

  // Sets the tensors that are read after an inference; nodes may read others.
  void SetOutputs(const std::vector<int>& outputs) { outputs_ = outputs; }
  void SetThreads(int threads) { context_.recommended_num_threads = threads; }

  // Like ModifyGraphWithDelegate, AllocateTensors and Invoke. Return false, with a text in errors(), if that fails.
  bool Apply(TfLiteDelegate* delegate);
  bool Allocate();
  bool Invoke();
  bool Resize(int tensor, const Shape& shape);

  void Set(int tensor, const std::vector<float>& values);
  std::vector<float> Get(int tensor) const;
  TfLiteTensor& tensor(int number) { return context_.tensors[number]; }
  TfLiteNode& node(int number);
  TfLiteContext* context() { return &context_; }
  size_t fused_nodes() const;  // nodes that the delegate has put in the place of others
  const std::string& errors() const { return errors_; }

 private:
  struct Node;

  static FakeInterpreter& Of(TfLiteContext* context) { return *static_cast<FakeInterpreter*>(context->impl); }
  static TfLiteStatus GetExecutionPlan(TfLiteContext* context, TfLiteIntArray** plan);
  static TfLiteStatus ResizeTensor(TfLiteContext* context, TfLiteTensor* tensor, TfLiteIntArray* shape);
  static void ReportError(TfLiteContext* context, const char* format, ...);
  static TfLiteStatus GetNodeAndRegistration(TfLiteContext* context, int index, TfLiteNode** node,
                                             TfLiteRegistration** registration);
  static TfLiteStatus Replace(TfLiteContext* context, TfLiteRegistration registration, const TfLiteIntArray* nodes,
                              TfLiteDelegate* delegate);

  bool PrepareCopy(const TfLiteNode& node);
  int Add(TfLiteTensor tensor, const Shape& shape);
  void AddFusedNode(const TfLiteRegistration& registration, const std::vector<int>& nodes, TfLiteDelegate* delegate);
  std::vector<int> ReadElsewhere(const std::vector<int>& nodes) const;

  TfLiteContext context_{};
  std::vector<TfLiteTensor> tensors_;
  std::vector<void*> memory_;  // of tensors_; owned
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<int> plan_;
  std::vector<int> plan_array_;  // as GetExecutionPlan returns it
  std::vector<int> outputs_;
  std::string errors_;
};

}  // namespace tfcompress
