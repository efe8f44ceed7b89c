#include "fake_tflite.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <set>

namespace tfcompress {
namespace {

using Array = std::vector<int>;  // laid out as a TfLiteIntArray: the count, then the values

Array ArrayOf(const std::vector<int>& values) {
  Array array{static_cast<int>(values.size())};
  array.insert(array.end(), values.begin(), values.end());
  return array;
}

TfLiteIntArray* Seen(Array* array) { return reinterpret_cast<TfLiteIntArray*>(array->data()); }

TfLiteIntArray* NewDims(const Shape& shape) {
  auto* dims = static_cast<TfLiteIntArray*>(malloc((shape.size() + 1) * sizeof(int)));
  dims->size = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), dims->data);
  return dims;
}

size_t BytesOf(const TfLiteTensor& tensor) {
  size_t bytes = TypeBytes(tensor.type);
  for (int i = 0; i < tensor.dims->size; ++i) bytes *= static_cast<size_t>(std::max(tensor.dims->data[i], 0));
  return bytes;
}

}  // namespace

struct FakeInterpreter::Node {
  TfLiteNode node{};
  TfLiteRegistration registration{};
  std::string name;
  std::vector<uint8_t> options;
  Array inputs, outputs;

  // For nodes that the delegate has put in the place of others.
  Array replaced;
  TfLiteDelegateParams parameters{};
};

FakeInterpreter::FakeInterpreter() {
  context_.impl = this;
  context_.GetExecutionPlan = GetExecutionPlan;
  context_.ResizeTensor = ResizeTensor;
  context_.ReportError = ReportError;
  context_.GetNodeAndRegistration = GetNodeAndRegistration;
  context_.ReplaceNodeSubsetsWithDelegateKernels = Replace;
  context_.recommended_num_threads = 1;
}

FakeInterpreter::~FakeInterpreter() {
  for (const auto& node : nodes_) {
    if (node->registration.free != nullptr) node->registration.free(&context_, node->node.user_data);
  }
  for (void* memory : memory_) free(memory);
  for (TfLiteTensor& tensor : tensors_) free(tensor.dims);
}

int FakeInterpreter::Add(TfLiteTensor tensor, const Shape& shape) {
  tensor.dims = NewDims(shape);
  if (tensor.allocation_type == kTfLiteArenaRw) tensor.bytes = BytesOf(tensor);
  tensors_.push_back(tensor);
  context_.tensors = tensors_.data();
  context_.tensors_size = tensors_.size();
  return static_cast<int>(tensors_.size()) - 1;
}

int FakeInterpreter::AddTensor(int type, const Shape& shape) {
  TfLiteTensor tensor{};
  tensor.type = type;
  tensor.allocation_type = kTfLiteArenaRw;
  memory_.push_back(nullptr);
  return Add(tensor, shape);
}

int FakeInterpreter::AddConstant(int type, const Shape& shape, const void* data, size_t bytes, size_t shift) {
  TfLiteTensor tensor{};
  tensor.type = type;
  tensor.allocation_type = kTfLiteMmapRo;
  tensor.bytes = bytes;
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes + shift) != 0) abort();
  tensor.data = static_cast<char*>(memory) + shift;
  if (bytes > 0) memcpy(tensor.data, data, bytes);
  memory_.push_back(memory);
  return Add(tensor, shape);
}

int FakeInterpreter::AddNode(const std::string& name, const std::vector<uint8_t>& options,
                             const std::vector<int>& inputs, const std::vector<int>& outputs) {
  auto node = std::make_unique<Node>();
  node->name = name;
  node->options = options;
  node->inputs = ArrayOf(inputs);
  node->outputs = ArrayOf(outputs);
  node->node.inputs = Seen(&node->inputs);
  node->node.outputs = Seen(&node->outputs);
  node->node.custom_initial_data = node->options.data();
  node->node.custom_initial_data_size = static_cast<int>(options.size());
  node->registration.custom_name = node->name.c_str();
  nodes_.push_back(std::move(node));
  plan_.push_back(static_cast<int>(nodes_.size()) - 1);
  return plan_.back();
}

TfLiteNode& FakeInterpreter::node(int number) { return nodes_[static_cast<size_t>(number)]->node; }

size_t FakeInterpreter::fused_nodes() const {
  return static_cast<size_t>(
      std::count_if(nodes_.begin(), nodes_.end(), [](const auto& node) { return !node->replaced.empty(); }));
}

bool FakeInterpreter::Apply(TfLiteDelegate* delegate) { return delegate->Prepare(&context_, delegate) == kTfLiteOk; }

bool FakeInterpreter::Allocate() {
  for (int number : plan_) {
    Node& node = *nodes_[static_cast<size_t>(number)];
    if (node.name == "copy" && !PrepareCopy(node.node)) return false;
    if (node.registration.prepare == nullptr) continue;
    if (node.registration.prepare(&context_, &node.node) != kTfLiteOk) return false;
  }
  for (size_t i = 0; i < tensors_.size(); ++i) {
    TfLiteTensor& tensor = tensors_[i];
    if (tensor.allocation_type != kTfLiteArenaRw) continue;
    if (tensor.bytes > size_t{1} << 24) return false;  // more than any test wants
    free(memory_[i]);
    if (posix_memalign(&memory_[i], 64, tensor.bytes) != 0) abort();
    memset(memory_[i], 0, tensor.bytes);
    tensor.data = memory_[i];
  }
  return true;
}

bool FakeInterpreter::PrepareCopy(const TfLiteNode& node) {
  for (const TfLiteIntArray* array : {node.inputs, node.outputs}) {
    if (array->size != 1 || array->data[0] < 0 || static_cast<size_t>(array->data[0]) >= tensors_.size()) return false;
  }
  TfLiteTensor& to = tensor(node.outputs->data[0]);
  if (to.allocation_type != kTfLiteArenaRw) return false;
  return ResizeTensor(&context_, &to, NewDims(ShapeOf(tensor(node.inputs->data[0])))) == kTfLiteOk;
}

bool FakeInterpreter::Invoke() {
  for (int number : plan_) {
    Node& node = *nodes_[static_cast<size_t>(number)];
    if (node.registration.invoke != nullptr) {
      if (node.registration.invoke(&context_, &node.node) != kTfLiteOk) return false;
    } else if (node.name == "copy") {
      const TfLiteTensor &from = tensor(node.node.inputs->data[0]), &to = tensor(node.node.outputs->data[0]);
      if (from.data == nullptr || to.data == nullptr) return false;
      memmove(to.data, from.data, std::min(from.bytes, to.bytes));
    } else {
      errors_ += "there is no operator " + node.name;
      return false;
    }
  }
  return true;
}

bool FakeInterpreter::Resize(int number, const Shape& shape) {
  return ResizeTensor(&context_, &tensor(number), NewDims(shape)) == kTfLiteOk && Allocate();
}

void FakeInterpreter::Set(int number, const std::vector<float>& values) {
  if (tensor(number).bytes != values.size() * sizeof(float)) abort();
  if (!values.empty()) memcpy(tensor(number).data, values.data(), tensor(number).bytes);
}

std::vector<float> FakeInterpreter::Get(int number) const {
  const TfLiteTensor& tensor = tensors_[static_cast<size_t>(number)];
  std::vector<float> values(tensor.bytes / sizeof(float));
  if (!values.empty()) memcpy(values.data(), tensor.data, values.size() * sizeof(float));
  return values;
}

TfLiteStatus FakeInterpreter::GetExecutionPlan(TfLiteContext* context, TfLiteIntArray** plan) {
  Of(context).plan_array_ = ArrayOf(Of(context).plan_);
  *plan = Seen(&Of(context).plan_array_);
  return kTfLiteOk;
}

TfLiteStatus FakeInterpreter::ResizeTensor(TfLiteContext*, TfLiteTensor* tensor, TfLiteIntArray* shape) {
  if (tensor->allocation_type != kTfLiteArenaRw) {
    free(shape);
    return kTfLiteError;
  }
  free(tensor->dims);
  tensor->dims = shape;
  tensor->bytes = BytesOf(*tensor);
  return kTfLiteOk;
}

void FakeInterpreter::ReportError(TfLiteContext* context, const char* format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  Of(context).errors_ += text;
}

TfLiteStatus FakeInterpreter::GetNodeAndRegistration(TfLiteContext* context, int index, TfLiteNode** node,
                                                     TfLiteRegistration** registration) {
  FakeInterpreter& self = Of(context);
  if (index < 0 || static_cast<size_t>(index) >= self.nodes_.size()) return kTfLiteError;
  *node = &self.nodes_[static_cast<size_t>(index)]->node;
  *registration = &self.nodes_[static_cast<size_t>(index)]->registration;
  return kTfLiteOk;
}

// Replaces each run of neighbours in the plan by one node.
TfLiteStatus FakeInterpreter::Replace(TfLiteContext* context, TfLiteRegistration registration,
                                      const TfLiteIntArray* nodes, TfLiteDelegate* delegate) {
  FakeInterpreter& self = Of(context);
  const std::set<int> taken(nodes->data, nodes->data + nodes->size);
  const std::vector<int> plan = std::move(self.plan_);
  self.plan_.clear();
  std::vector<int> neighbours;
  for (size_t i = 0; i <= plan.size(); ++i) {
    const bool ours = i < plan.size() && taken.count(plan[i]) > 0;
    if (ours) neighbours.push_back(plan[i]);
    if (!ours && !neighbours.empty()) self.AddFusedNode(registration, neighbours, delegate);
    if (!ours) neighbours.clear();
    if (!ours && i < plan.size()) self.plan_.push_back(plan[i]);
  }
  return kTfLiteOk;
}

void FakeInterpreter::AddFusedNode(const TfLiteRegistration& registration, const std::vector<int>& nodes,
                                   TfLiteDelegate* delegate) {
  auto fused = std::make_unique<Node>();
  fused->registration = registration;
  fused->replaced = ArrayOf(nodes);
  fused->outputs = ArrayOf(ReadElsewhere(nodes));
  fused->inputs = ArrayOf({});
  fused->node.inputs = Seen(&fused->inputs);
  fused->node.outputs = Seen(&fused->outputs);
  fused->parameters = {delegate, Seen(&fused->replaced), Seen(&fused->inputs), Seen(&fused->outputs)};
  fused->node.user_data =
      registration.init(&context_, reinterpret_cast<const char*>(&fused->parameters), sizeof(fused->parameters));
  nodes_.push_back(std::move(fused));
  plan_.push_back(static_cast<int>(nodes_.size()) - 1);
}

std::vector<int> FakeInterpreter::ReadElsewhere(const std::vector<int>& nodes) const {
  std::set<int> read(outputs_.begin(), outputs_.end());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (std::count(nodes.begin(), nodes.end(), static_cast<int>(i)) > 0) continue;
    read.insert(nodes_[i]->inputs.begin() + 1, nodes_[i]->inputs.end());
  }
  std::vector<int> found;
  for (int node : nodes) {
    const Array& outputs = nodes_[static_cast<size_t>(node)]->outputs;
    std::copy_if(outputs.begin() + 1, outputs.end(), std::back_inserter(found),
                 [&read](int tensor) { return read.count(tensor) > 0; });
  }
  return found;
}

}  // namespace tfcompress
