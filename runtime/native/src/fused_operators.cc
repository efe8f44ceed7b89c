#include "fused_operators.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "memory_plan.h"
#include "operators/registry.h"

namespace tfcompress {
namespace {

bool Contains(const TfLiteIntArray& array, int value) {
  return std::find(array.data, array.data + array.size, value) != array.data + array.size;
}

}  // namespace

std::unique_ptr<FusedOperators> FusedOperators::Make(TfLiteContext* context, const TfLiteIntArray& nodes,
                                                     const TfLiteIntArray& outputs, std::shared_ptr<Runtime> runtime,
                                                     Refusal* why) {
  std::shared_ptr<GraphMemory> memory = runtime->MemoryOf(context);
  std::unique_ptr<FusedOperators> fused(new FusedOperators(std::move(runtime), std::move(memory)));
  for (int i = 0; i < nodes.size; ++i) {
    if ((*why = fused->AddStep(context, nodes.data[i], outputs))) return nullptr;
  }
  for (size_t i = 1; i < fused->steps_.size(); ++i) fused->steps_[i - 1].op->set_next(fused->steps_[i].op.get());
  fused->data_.resize(fused->tensors_.size());
  return fused;
}

// Adds tensors in the order in which steps use them: one that is read before any step has written it comes from
// outside.
Refusal FusedOperators::AddStep(TfLiteContext* context, int node_number, const TfLiteIntArray& outputs) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  Step step;
  if (context->GetNodeAndRegistration(context, node_number, &node, &registration) == kTfLiteOk) {
    step.op = MakeOperator(*registration, node_number);
  }
  if (step.op == nullptr) return Refuse("tfcompress: node %d is not an operator of this delegate", node_number);
  if (Refusal why = step.op->Read(*context, *node)) return why;
  if (Refusal why = step.op->CopyConstants(*context)) return why;
  const int now = static_cast<int>(steps_.size());
  for (int number : step.op->inputs()) {
    const auto [place, added] = places_.try_emplace(number, static_cast<int>(tensors_.size()));
    if (added) tensors_.push_back({number, -1, now, true, {}, 0, 0});
    tensors_[place->second].last = now;
    step.inputs.push_back(place->second);
  }
  for (int number : step.op->outputs()) {
    if (!places_.try_emplace(number, static_cast<int>(tensors_.size())).second) {
      return step.op->Named(Refuse("its output (tensor %d) has already been read or written", number));
    }
    step.outputs.push_back(static_cast<int>(tensors_.size()));
    tensors_.push_back({number, now, now, Contains(outputs, number), {}, 0, 0});
  }
  steps_.push_back(std::move(step));
  return {};
}

Refusal FusedOperators::Prepare(TfLiteContext* context) {
  ready_ = false;
  threads_ = runtime_->Threads(context->recommended_num_threads);
  if (Refusal why = InferShapes(*context)) return why;
  if (Refusal why = ResizeOutputs(context)) return why;
  if (Refusal why = PlaceInMemory()) return why;
  ready_ = true;
  return {};
}

Refusal FusedOperators::InferShapes(const TfLiteContext& context) {
  for (Tensor& tensor : tensors_) {
    if (tensor.first < 0) tensor.shape = ShapeOf(context.tensors[tensor.number]);
  }
  for (Step& step : steps_) {
    std::vector<Shape> inputs;
    for (int input : step.inputs) inputs.push_back(tensors_[input].shape);
    Shape output;
    if (Refusal why = step.op->InferShape(inputs, &output)) return why;
    for (int made : step.outputs) tensors_[made].shape = output;
    step.op->Prepare(inputs, runtime_->kernels(), threads_->threads());
  }
  for (Tensor& tensor : tensors_) {
    size_t count = 0;
    if (Refusal why = CountElements(tensor.shape, &count)) return why;
    tensor.bytes = count * sizeof(float);  // Ids are int32 and have as many bytes.
  }
  return {};
}

Refusal FusedOperators::ResizeOutputs(TfLiteContext* context) {
  for (const Tensor& tensor : tensors_) {
    if (tensor.first < 0 || !tensor.seen) continue;
    TfLiteTensor& seen = context->tensors[tensor.number];
    if (seen.bytes == tensor.bytes && seen.dims != nullptr && ShapeOf(seen) == tensor.shape) continue;
    const size_t lengths = tensor.shape.size();
    auto* dims = static_cast<TfLiteIntArray*>(malloc(sizeof(TfLiteIntArray) + lengths * sizeof(int)));
    if (dims == nullptr) return Refuse("tfcompress: out of memory");
    dims->size = static_cast<int>(lengths);
    std::copy(tensor.shape.begin(), tensor.shape.end(), dims->data);
    if (context->ResizeTensor(context, &seen, dims) != kTfLiteOk) {
      return Refuse("tfcompress: the interpreter cannot resize tensor %d to %s", tensor.number,
                    TextOf(tensor.shape).c_str());
    }
  }
  return {};
}

// The memory holds, in this order: tensors that the interpreter does not see, quantized rows, their scales, and the
// scratch of each thread.
Refusal FusedOperators::PlaceInMemory() {
  std::vector<Life> lives;
  std::vector<Tensor*> own;
  for (Tensor& tensor : tensors_) {
    if (tensor.seen) continue;
    own.push_back(&tensor);
    lives.push_back({tensor.bytes, tensor.first, tensor.last});
  }
  const MemoryPlan plan = PlanMemory(lives);
  for (size_t i = 0; i < own.size(); ++i) own[i]->offset = plan.offsets[i];
  size_t quantized = 0, scales = 0, scratch = 0;
  for (const Step& step : steps_) {
    const WorkspaceBytes bytes = step.op->NeededWorkspace(runtime_->kernels());
    quantized = std::max(quantized, Aligned(bytes.quantized));
    scales = std::max(scales, Aligned(bytes.scales));
    scratch = std::max(scratch, Aligned(bytes.scratch));
  }
  quantized_ = plan.bytes;
  scales_ = quantized_ + quantized;
  scratch_ = scales_ + scales;
  needed_ = scratch_ + scratch * static_cast<size_t>(threads_->threads());
  workspace_.scratch_bytes = scratch;
  if (!memory_->Grow(needed_)) {
    return Refuse("tfcompress: out of memory; inputs of these shapes need %zu bytes", needed_);
  }
  return {};
}

// The interpreter may have moved its tensors since Prepare, and a broken graph may even have resized them. Other fused
// operators may have moved the memory.
Refusal FusedOperators::FindData(const TfLiteContext& context) {
  char* const memory = memory_->data();
  workspace_.quantized = reinterpret_cast<uint8_t*>(memory + quantized_);
  workspace_.scales = reinterpret_cast<RowScale*>(memory + scales_);
  workspace_.scratch = memory + scratch_;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    if (!tensor.seen) {
      data_[i] = memory + tensor.offset;
      continue;
    }
    const TfLiteTensor& seen = context.tensors[tensor.number];
    if (seen.bytes != tensor.bytes || (seen.data == nullptr && tensor.bytes > 0)) {
      return Refuse("tfcompress: tensor %d has %zu bytes%s; %zu were prepared", tensor.number, seen.bytes,
                    seen.data == nullptr ? " and no data" : "", tensor.bytes);
    }
    if (reinterpret_cast<uintptr_t>(seen.data) % alignof(float) != 0) {
      return Refuse("tfcompress: tensor %d is not aligned to %zu bytes", tensor.number, alignof(float));
    }
    data_[i] = static_cast<char*>(seen.data);
  }
  return {};
}

Refusal FusedOperators::Invoke(TfLiteContext* context) {
  if (!ready_ || memory_->bytes() < needed_) return Refuse("tfcompress: invoked before it was prepared");
  if (Refusal why = FindData(*context)) return why;
  const bool profiling = runtime_->profiling();
  if (profiling) profile_.Begin();
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    const Invocation invocation = {runtime_->kernels(), threads_.get(),     workspace_,
                                   data_.data(),        step.inputs.data(), step.outputs.data()};
    if (Refusal why = step.op->Run(invocation)) return why;
    if (profiling) profile_.Add(i);
  }
  return {};
}

FusedOperators::~FusedOperators() {
  std::vector<std::string> labels;
  for (const Step& step : steps_) labels.push_back(step.op->Label());
  profile_.Print(runtime_->kernels().name, labels);
}

}  // namespace tfcompress
