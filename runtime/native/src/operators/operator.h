// What the operators of a packed file (docs/format.md) have in common. Each one has a file of its own in this folder
// with everything about it: how it is read from the graph and checked, how its constants are copied, which shape its
// outputs have, how much memory it needs and how it runs on several threads.
//
// A file may be hostile. Read and InferShape therefore check everything that later code relies on, so that nothing
// reads or writes out of bounds.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"
#include "refusal.h"
#include "shape.h"
#include "tflite_abi.h"
#include "thread_pool.h"

namespace tfcompress {

constexpr int kAbsent = -1;  // The number that a file gives for a tensor that it leaves out.

// Upper limit of inputs, outputs, widths, rows and tokens: rounding one of them up still gives an int.
constexpr int kLargestSide = 1 << 24;

// Memory that one operator uses while it runs and the next one reuses.
struct Workspace {
  uint8_t* quantized;    // the rows of x, where they are quantized
  RowScale* scales;      // one per quantized row
  char* scratch;         // `scratch_bytes` for each thread
  size_t scratch_bytes;  // a multiple of 64

  char* ScratchOf(int thread) const { return scratch + static_cast<size_t>(thread) * scratch_bytes; }
};

struct WorkspaceBytes {
  size_t quantized = 0, scales = 0;
  size_t scratch = 0;  // for one thread
};

// What an operator runs with.
struct Invocation {
  const Kernels& kernels;
  ThreadPool* threads;
  const Workspace& workspace;
  char* const* tensors;         // the data of all tensors of the fused operators
  const int *inputs, *outputs;  // this operator's inputs and outputs, as places in `tensors`

  template <typename T>
  const T* Input(size_t i) const {
    return reinterpret_cast<const T*>(tensors[inputs[i]]);
  }
  float* Output(size_t i) const { return reinterpret_cast<float*>(tensors[outputs[i]]); }
};

class Operator {
 public:
  virtual ~Operator() = default;
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  // Reads the node and checks everything that can be known before shapes are: options, counts, and the types, shapes
  // and sizes of constants.
  Refusal Read(const TfLiteContext& context, const TfLiteNode& node);

  // Copies the constants into the form that the compute kernels want. Only packed indices stay in the file.
  Refusal CopyConstants(const TfLiteContext& context);

  // Computes the shape that all outputs have from the shapes of inputs().
  Refusal InferShape(const std::vector<Shape>& inputs, Shape* output) const;

  // Plans the work for inputs of these shapes, which InferShape has accepted.
  virtual void Prepare(const std::vector<Shape>& inputs, const Kernels& kernels, int threads) = 0;

  // The memory that Run needs for the shapes of the last Prepare.
  virtual WorkspaceBytes NeededWorkspace(const Kernels& kernels) const;

  // Allocates no memory.
  virtual Refusal Run(const Invocation& invocation) const = 0;

  // Under this name the profile adds up the time of operators.
  virtual std::string Label() const;

  // The packed weights that `part` of this operator reads first or, if it has none, of the operators after it.
  virtual Upcoming FirstPanel(const Kernels& kernels, int part) const;
  void set_next(const Operator* next) { next_ = next; }

  // Prefixes a refusal with the operator's name and node.
  Refusal Named(const Refusal& refusal) const;

  // The tensors that are computed at run time, by their numbers in the graph. Optional inputs that the file leaves out
  // are missing here.
  const std::vector<int>& inputs() const { return inputs_; }
  const std::vector<int>& outputs() const { return outputs_; }

 protected:
  Operator(const char* name, int node) : name_(name), node_(node) {}

  // Reads the options, checks the constants and fills inputs_.
  virtual Refusal ReadNode(const TfLiteContext& context, const TfLiteNode& node) = 0;
  virtual int InputType() const { return kTfLiteFloat32; }

  // Returns false if there is not enough memory.
  virtual bool AllocateConstants(const TfLiteContext& context) = 0;

  // `inputs` have at most kMostElements elements each.
  virtual Refusal InferOutput(const std::vector<Shape>& inputs, Shape* output) const = 0;

  std::vector<int> inputs_;
  const Operator* next_ = nullptr;  // that runs after this one

 private:
  const char* const name_;
  const int node_;
  std::vector<int> outputs_;
};

}  // namespace tfcompress
