#include "operators/operator.h"

#include <cstring>

#include "operators/checks.h"

namespace tfcompress {

Refusal Operator::Named(const Refusal& refusal) const {
  return Refuse("%s (node %d): %s", name_, node_, refusal.text.c_str());
}

Refusal Operator::Read(const TfLiteContext& context, const TfLiteNode& node) {
  if (Refusal why = ReadNode(context, node)) return Named(why);
  outputs_.assign(node.outputs->data, node.outputs->data + node.outputs->size);
  for (int tensor : inputs_) {
    if (Refusal why = CheckInput(context, tensor, InputType())) return Named(why);
  }
  for (int tensor : outputs_) {
    if (Refusal why = CheckOutput(context, tensor)) return Named(why);
  }
  return {};
}

Refusal Operator::CopyConstants(const TfLiteContext& context) {
  if (AllocateConstants(context)) return {};
  return Named(Refuse("out of memory"));
}

Refusal Operator::InferShape(const std::vector<Shape>& inputs, Shape* output) const {
  size_t count = 0;
  for (const Shape& shape : inputs) {
    if (Refusal why = CountElements(shape, &count)) return Named(why);
  }
  if (Refusal why = InferOutput(inputs, output)) return Named(why);
  if (Refusal why = CountElements(*output, &count)) return Named(why);
  return {};
}

WorkspaceBytes Operator::NeededWorkspace(const Kernels&) const { return {}; }

std::string Operator::Label() const { return strchr(name_, '.') + 1; }

Upcoming Operator::FirstPanel(const Kernels& kernels, int part) const {
  return next_ == nullptr ? Upcoming{nullptr, 0} : next_->FirstPanel(kernels, part);
}

}  // namespace tfcompress
