#include "encoder.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "memory_plan.h"

namespace tfcompress {
namespace {

bool Contains(const TfLiteIntArray& array, int value) {
  return std::find(array.data, array.data + array.size, value) != array.data + array.size;
}

Refusal MakeConstants(const TfLiteContext& context, Step* step) {
  switch (step->op.kind) {
    case Kind::kFullyConnected:
      for (const Segment& segment : step->op.segments) {
        step->layers.emplace_back();
        if (Refusal why = MakeDense(context, step->op, segment, &step->layers.back())) return why;
      }
      return {};
    case Kind::kEmbedding:
      return MakeEmbedding(context, step->op, &step->table);
    case Kind::kLayerNorm:
      return MakeLayerNorm(context, step->op, &step->norm);
    case Kind::kAttention:
      return {};
  }
  return {};
}

}  // namespace

std::unique_ptr<Encoder> Encoder::Make(TfLiteContext* context, const TfLiteIntArray& nodes,
                                       const TfLiteIntArray& outputs, std::shared_ptr<Runtime> runtime, Refusal* why) {
  std::unique_ptr<Encoder> encoder(new Encoder(std::move(runtime)));
  for (int i = 0; i < nodes.size; ++i) {
    if ((*why = encoder->AddStep(context, nodes.data[i], outputs))) return nullptr;
  }
  Step* later = nullptr;
  for (auto step = encoder->steps_.rbegin(); step != encoder->steps_.rend(); ++step) {
    step->next_dense = later;
    if (step->op.kind == Kind::kFullyConnected) later = &*step;
  }
  encoder->data_.resize(encoder->tensors_.size());
  return encoder;
}

// Tensors are entered as steps read and write them: what is read without having been written comes from outside.
Refusal Encoder::AddStep(TfLiteContext* context, int node_number, const TfLiteIntArray& outputs) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  Kind kind;
  if (context->GetNodeAndRegistration(context, node_number, &node, &registration) != kTfLiteOk ||
      !KindOf(*registration, &kind)) {
    return Refuse("tfcompress: node %d is none of this delegate's", node_number);
  }
  Step step;
  if (Refusal why = ReadOperator(*context, node_number, *node, kind, &step.op)) return why;
  if (Refusal why = MakeConstants(*context, &step)) return why;
  const int now = static_cast<int>(steps_.size());
  for (int number : step.op.inputs) {
    const auto [place, added] = places_.try_emplace(number, static_cast<int>(tensors_.size()));
    if (added) tensors_.push_back({number, -1, now, true, {}, 0});
    tensors_[place->second].last = now;
    step.inputs.push_back(place->second);
  }
  for (int number : step.op.outputs) {
    if (!places_.try_emplace(number, static_cast<int>(tensors_.size())).second) {
      return Refuse("%s (node %d): its output (tensor %d) is read or written before", NameOf(kind), node_number,
                    number);
    }
    step.outputs.push_back(static_cast<int>(tensors_.size()));
    tensors_.push_back({number, now, now, Contains(outputs, number), {}, 0});
  }
  steps_.push_back(std::move(step));
  return {};
}

Refusal Encoder::Prepare(TfLiteContext* context) {
  ready_ = false;
  threads_ = runtime_->Threads(context->recommended_num_threads);
  if (Refusal why = InferShapes(*context)) return why;
  if (Refusal why = ResizeOutputs(context)) return why;
  if (Refusal why = TakeMemory()) return why;
  ready_ = true;
  return {};
}

Refusal Encoder::InferShapes(const TfLiteContext& context) {
  for (Tensor& tensor : tensors_) {
    if (tensor.first < 0) tensor.shape = ShapeOf(context.tensors[tensor.number]);
  }
  for (Step& step : steps_) {
    std::vector<Shape> inputs;
    for (int input : step.inputs) inputs.push_back(tensors_[input].shape);
    Shape output;
    if (Refusal why = InferShape(step.op, inputs, &output)) return why;
    for (int made : step.outputs) tensors_[made].shape = output;
    SetSizes(inputs, runtime_->kernels(), threads_->threads(), &step);
  }
  for (Tensor& tensor : tensors_) {
    size_t count = 0;
    if (Refusal why = CountElements(tensor.shape, &count)) return why;
    tensor.bytes = count * sizeof(float);  // Ids are as long.
  }
  return {};
}

Refusal Encoder::ResizeOutputs(TfLiteContext* context) {
  for (const Tensor& tensor : tensors_) {
    if (tensor.first < 0 || !tensor.seen) continue;
    TfLiteTensor& seen = context->tensors[tensor.number];
    if (seen.bytes == tensor.bytes && seen.dims != nullptr && ShapeOf(seen) == tensor.shape) continue;
    const size_t lengths = tensor.shape.size();
    auto* dims = static_cast<TfLiteIntArray*>(malloc(sizeof(TfLiteIntArray) + lengths * sizeof(int)));
    if (dims == nullptr) return Refuse("tfcompress: no memory left");
    dims->size = static_cast<int>(lengths);
    std::copy(tensor.shape.begin(), tensor.shape.end(), dims->data);
    if (context->ResizeTensor(context, &seen, dims) != kTfLiteOk) {
      return Refuse("tfcompress: the interpreter cannot give tensor %d the shape %s", tensor.number,
                    TextOf(tensor.shape).c_str());
    }
  }
  return {};
}

// In this order: tensors of our own, quantized rows, their scales, scratch of each thread.
Refusal Encoder::TakeMemory() {
  std::vector<Life> lives;
  std::vector<size_t> own;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    if (tensors_[i].seen) continue;
    own.push_back(i);
    lives.push_back({tensors_[i].bytes, tensors_[i].first, tensors_[i].last});
  }
  const MemoryPlan plan = PlanMemory(lives);
  size_t quantized = 0, scales = 0, scratch = 0;
  for (const Step& step : steps_) {
    quantized = std::max(quantized, Aligned(QuantizedBytes(step)));
    scales = std::max(scales, Aligned(ScaleBytes(step)));
    scratch = std::max(scratch, Aligned(ScratchBytes(step, runtime_->kernels())));
  }
  const size_t needed = plan.bytes + quantized + scales + scratch * static_cast<size_t>(threads_->threads());
  if (needed > memory_bytes_) {
    memory_.reset();  // The old and the new never stand side by side.
    memory_bytes_ = 0;
    memory_ = Allocate(needed);
    if (memory_ == nullptr) return Refuse("tfcompress: no memory left; inputs of these shapes need %zu bytes", needed);
    memory_bytes_ = needed;
  }
  for (size_t i = 0; i < own.size(); ++i) data_[own[i]] = memory_.get() + plan.offsets[i];
  char* at = memory_.get() + plan.bytes;
  workspace_.quantized = reinterpret_cast<uint8_t*>(at);
  workspace_.scales = reinterpret_cast<RowScale*>(at + quantized);
  workspace_.scratch = at + quantized + scales;
  workspace_.scratch_bytes = scratch;
  return {};
}

// The interpreter may have moved its tensors since Prepare; nothing stops a broken graph from resizing them.
Refusal Encoder::FindData(const TfLiteContext& context) {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    if (!tensor.seen) continue;
    const TfLiteTensor& seen = context.tensors[tensor.number];
    if (seen.bytes != tensor.bytes || (seen.data == nullptr && tensor.bytes > 0)) {
      return Refuse("tfcompress: tensor %d has %zu bytes%s; prepared were %zu", tensor.number, seen.bytes,
                    seen.data == nullptr ? " and no data" : "", tensor.bytes);
    }
    if (reinterpret_cast<uintptr_t>(seen.data) % alignof(float) != 0) {
      return Refuse("tfcompress: tensor %d does not begin at a multiple of %zu bytes", tensor.number, alignof(float));
    }
    data_[i] = static_cast<char*>(seen.data);
  }
  return {};
}

Refusal Encoder::Invoke(TfLiteContext* context) {
  if (!ready_) return Refuse("tfcompress: invoked without having been prepared");
  if (Refusal why = FindData(*context)) return why;
  const bool profiling = runtime_->profiling();
  if (profiling) profile_.Begin();
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (Refusal why = Run(steps_[i], runtime_->kernels(), threads_.get(), data_.data(), workspace_)) return why;
    if (profiling) profile_.Add(i);
  }
  return {};
}

Encoder::~Encoder() { profile_.Print(runtime_->kernels().name, steps_); }

}  // namespace tfcompress
