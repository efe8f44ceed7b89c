// One operator inside a kernel: its constants, the sizes that its inputs have now, and how it is run by several
// threads.
#pragma once

#include <vector>

#include "kernels.h"
#include "layers.h"
#include "operators.h"
#include "refusal.h"
#include "thread_pool.h"

namespace tfcompress {

struct Step {
  Operator op;
  std::vector<int> inputs, outputs;  // tensors of the kernel, as op.inputs and op.outputs

  // Constants, those of its kind.
  std::vector<DenseLayer> layers;  // a segment each
  EmbeddingTable table;
  LayerNormWeights norm;

  // From the shapes of its inputs.
  int rows = 0, width = 0;  // of its first input; ids are one a row
  AttentionShape attention;
  int batch = 0, mask_stride = 0;

  // How it is cut.
  int parts = 1;                     // dense: panels; attention: query rows of a head
  const Step* next_dense = nullptr;  // that runs after this one
};

// Memory that is used in a step and free again behind it.
struct Workspace {
  uint8_t* quantized;
  RowScale* scales;
  char* scratch;         // of all threads
  size_t scratch_bytes;  // of each
};

// Sizes of `step` for inputs of these shapes, which InferShape has taken.
void SetSizes(const std::vector<Shape>& inputs, const Kernels& kernels, int threads, Step* step);

size_t QuantizedBytes(const Step& step);                        // for Workspace::quantized
size_t ScaleBytes(const Step& step);                            // for Workspace::scales
size_t ScratchBytes(const Step& step, const Kernels& kernels);  // for one thread

// `data` are the kernel's tensors. Refuses ids that are no rows of their table.
Refusal Run(const Step& step, const Kernels& kernels, ThreadPool* threads, char* const* data,
            const Workspace& workspace);

}  // namespace tfcompress
