// Turns bytes into a graph of packed operators, breaks some of its fields, then loads, feeds, resizes and runs it.
// Whatever the bytes are, sanitizers must find nothing.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "delegate_for_test.h"
#include "packed_model.h"

namespace tfcompress {
namespace {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  int Below(int most) { return most <= 0 ? 0 : Byte() % most; }
  bool Flip() { return Below(2) == 1; }

  uint8_t Byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }

  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | Byte();
    return word;
  }

  // Returns a number that is likely to be at some limit.
  int Number() {
    constexpr int kEdges[] = {0,
                              1,
                              -1,
                              2,
                              3,
                              4,
                              7,
                              8,
                              15,
                              16,
                              17,
                              31,
                              32,
                              33,
                              64,
                              127,
                              128,
                              255,
                              256,
                              65535,
                              65536,
                              1 << 24,
                              (1 << 24) + 1,
                              1 << 28,
                              1 << 30,
                              INT32_MAX,
                              INT32_MIN};
    const int kind = Below(4);
    if (kind == 0) return static_cast<int>(Word());
    if (kind == 1) return Below(64);
    return kEdges[Below(sizeof(kEdges) / sizeof(kEdges[0]))];
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

struct Graph {
  PackedModel model;
  std::vector<int> tensors;  // those that are fed or computed
  int nodes = 0;

  explicit Graph(unsigned seed) : model(seed) {}
  int Any(Bytes* bytes) const { return tensors[static_cast<size_t>(bytes->Below(static_cast<int>(tensors.size())))]; }
  int Last() const { return tensors.back(); }
};

template <typename Enum>
Enum AnyUpTo(Enum last, Bytes* bytes) {
  return static_cast<Enum>(bytes->Below(static_cast<int>(last) + 1));
}

void AddDense(Bytes* bytes, Graph* graph) {
  DenseSpec spec;
  spec.outputs = bytes->Flip() ? ShapeOf(graph->model.interpreter.tensor(graph->Last())).back() : 1 + bytes->Below(70);
  spec.bits = 2 + bytes->Below(7);
  spec.centroids = 1 + bytes->Below(1 << spec.bits);
  spec.activation = AnyUpTo(Activation::kTanh, bytes);
  spec.computing = AnyUpTo(Computing::kInt8, bytes);
  spec.segments = 1 + bytes->Below(3);
  spec.residual = bytes->Flip() ? graph->Any(bytes) : -1;
  spec.bias = bytes->Flip();
  spec.int8_codebook = bytes->Flip();
  spec.scale_by_output = bytes->Flip();
  spec.flagged = spec.scale_by_output && !spec.int8_codebook;
  spec.shift = static_cast<size_t>(bytes->Below(8));
  for (int y : graph->model.Dense(graph->Last(), spec)) graph->tensors.push_back(y);
}

void AddOperator(Bytes* bytes, Graph* graph) {
  PackedModel& model = graph->model;
  const int width = ShapeOf(model.interpreter.tensor(graph->Last())).back();
  switch (bytes->Below(6)) {
    case 0:
    case 1:
      AddDense(bytes, graph);
      break;
    case 2: {
      const int ids = model.Ids({1, 1 + bytes->Below(9)});
      const int rows = 1 + bytes->Below(20), table_width = 1 + bytes->Below(40);
      graph->tensors.push_back(ids);
      const int bits = 2 + bytes->Below(7);
      const bool int8_codebook = bytes->Flip();
      const int shift = bytes->Below(8);
      graph->tensors.push_back(
          model.Embedding(ids, rows, table_width, bits, int8_codebook, static_cast<size_t>(shift % 4), shift >= 4));
      break;
    }
    case 3: {
      const int heads = width % 2 == 0 && bytes->Flip() ? 2 : 1;
      const int mask = bytes->Flip() ? graph->Any(bytes) : -1;
      const int q = graph->Last(), k = bytes->Flip() ? graph->Any(bytes) : q, v = bytes->Flip() ? graph->Any(bytes) : q;
      graph->tensors.push_back(model.Attention(q, k, v, heads, mask, AnyUpTo(Computing::kInt8, bytes)));
      break;
    }
    case 4:
      graph->tensors.push_back(model.LayerNorm(graph->Last(), static_cast<size_t>(bytes->Below(4))));
      break;
    default:
      graph->tensors.push_back(model.Copy(graph->Last()));
  }
  ++graph->nodes;
}

// Breaks a field. What TFLite itself guarantees stays true: `bytes` and the size of the options never exceed the
// memory.
void Break(Bytes* bytes, Graph* graph) {
  FakeInterpreter& interpreter = graph->model.interpreter;
  TfLiteTensor& tensor = interpreter.tensor(bytes->Below(static_cast<int>(interpreter.context()->tensors_size)));
  TfLiteNode& node = interpreter.node(bytes->Below(graph->nodes));
  switch (bytes->Below(10)) {
    case 0:
    case 1: {
      const uint32_t value = bytes->Flip() ? bytes->Word() : static_cast<uint32_t>(bytes->Number());
      const int word = bytes->Below(node.custom_initial_data_size / 4);
      if (node.custom_initial_data_size < 4) break;
      memcpy(static_cast<char*>(const_cast<void*>(node.custom_initial_data)) + 4 * word, &value, 4);
      break;
    }
    case 2:
      node.custom_initial_data_size = bytes->Below(node.custom_initial_data_size + 1);
      break;
    case 3:
    case 4: {
      TfLiteIntArray* tensors = bytes->Flip() ? node.inputs : node.outputs;
      if (tensors->size == 0) break;
      tensors->data[bytes->Below(tensors->size)] =
          bytes->Flip() ? bytes->Number() : bytes->Below(static_cast<int>(interpreter.context()->tensors_size));
      break;
    }
    case 5:
      if (node.inputs->size > 0) --node.inputs->size;
      break;
    case 6:
    case 7:
      if (tensor.dims->size > 0) tensor.dims->data[bytes->Below(tensor.dims->size)] = bytes->Number();
      break;
    case 8:
      tensor.type = bytes->Below(12);
      if (tensor.dims->size > 0 && bytes->Flip()) --tensor.dims->size;
      break;
    default:
      if (bytes->Flip()) tensor.bytes -= std::min<size_t>(tensor.bytes, bytes->Byte());
      if (bytes->Flip()) tensor.allocation_type = bytes->Flip() ? kTfLiteMmapRo : kTfLiteArenaRw;
      if (tensor.allocation_type == kTfLiteMmapRo && bytes->Flip()) tensor.data = nullptr;
  }
}

void Feed(Bytes* bytes, Graph* graph) {
  for (int number : graph->tensors) {
    const TfLiteTensor& tensor = graph->model.interpreter.tensor(number);
    if (tensor.allocation_type != kTfLiteArenaRw || tensor.data == nullptr) continue;
    const uint8_t pattern = bytes->Flip() ? bytes->Byte() : 0;
    memset(tensor.data, pattern, std::min<size_t>(tensor.bytes, 4096));
    if (tensor.bytes >= 4 && bytes->Flip()) {
      const uint32_t word = bytes->Word();
      memcpy(tensor.data, &word, 4);
    }
  }
}

// Returns whether to run the graph. The time of attention grows with the square of the tokens, so large shapes are only
// prepared.
bool Small(Graph* graph) {
  size_t most = 0;
  for (int number : graph->tensors) {
    for (int length : ShapeOf(graph->model.interpreter.tensor(number))) {
      most = std::max(most, static_cast<size_t>(length));
    }
  }
  return most <= 500;
}

void Run(Bytes* bytes, Graph* graph) {
  if (!Small(graph)) return;
  Feed(bytes, graph);
  graph->model.interpreter.Invoke();
}

void Try(Bytes bytes) {
  Graph graph(bytes.Byte());
  Shape shape{1 + bytes.Below(2), 1 + bytes.Below(20), 1 + bytes.Below(40)};
  if (bytes.Below(4) == 0) shape.erase(shape.begin());
  graph.tensors.push_back(graph.model.Input(shape));
  for (int count = 1 + bytes.Below(5); count > 0; --count) AddOperator(&bytes, &graph);
  for (int count = bytes.Below(4); count > 0; --count) Break(&bytes, &graph);
  FakeInterpreter& interpreter = graph.model.interpreter;
  interpreter.SetOutputs({graph.Last(), graph.Any(&bytes)});
  interpreter.SetThreads(bytes.Below(8) == 0 ? 3 : 1);
  const DelegatePointer delegate = NewDelegate();
  if (!interpreter.Apply(delegate.get()) || !interpreter.Allocate()) return;
  Run(&bytes, &graph);
  Shape other{bytes.Below(3), bytes.Below(30), shape.back()};
  if (bytes.Below(4) == 0) other[static_cast<size_t>(bytes.Below(3))] = bytes.Number();
  if (!interpreter.Resize(graph.tensors[0], other)) return;
  Run(&bytes, &graph);
}

}  // namespace
}  // namespace tfcompress

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  tfcompress::Try(tfcompress::Bytes(data, size));
  return 0;
}
