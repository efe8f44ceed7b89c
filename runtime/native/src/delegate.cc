// The delegate as an interpreter sees it. It takes all operators of a graph that are ours; the interpreter replaces
// each run of neighbours by one node, which fused_operators.h runs.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "fused_operators.h"
#include "instruction_sets.h"
#include "operators/registry.h"
#include "runtime.h"
#include "tfcompress_runtime.h"
#include "tflite_abi.h"

namespace tfcompress {
namespace {

struct Delegate {
  TfLiteDelegate seen{};  // what the interpreter sees
  std::shared_ptr<Runtime> runtime;
};

TfLiteStatus Report(TfLiteContext* context, const Refusal& why) {
  if (!why) return kTfLiteOk;
  context->ReportError(context, "%s. ", why.text.c_str());  // TFLite appends its own messages.
  return kTfLiteError;
}

void* InitFused(TfLiteContext* context, const char* buffer, size_t) {
  const auto* parameters = reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  const auto* delegate = static_cast<const Delegate*>(parameters->delegate->data);
  Refusal why;
  auto fused = FusedOperators::Make(context, *parameters->nodes_to_replace, *parameters->output_tensors,
                                    delegate->runtime, &why);
  Report(context, why);
  return fused.release();
}

void FreeFused(TfLiteContext*, void* fused) { delete static_cast<FusedOperators*>(fused); }

TfLiteStatus PrepareFused(TfLiteContext* context, TfLiteNode* node) {
  if (node->user_data == nullptr) return kTfLiteError;  // InitFused has reported why.
  return Report(context, static_cast<FusedOperators*>(node->user_data)->Prepare(context));
}

TfLiteStatus InvokeFused(TfLiteContext* context, TfLiteNode* node) {
  if (node->user_data == nullptr) return kTfLiteError;
  return Report(context, static_cast<FusedOperators*>(node->user_data)->Invoke(context));
}

// Finds and checks the nodes that are ours, so that errors are reported before the graph changes.
Refusal FindNodes(TfLiteContext* context, std::vector<int>* found) {
  TfLiteIntArray* plan = nullptr;
  if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) return Refuse("tfcompress: there is no execution plan");
  const std::vector<int> nodes(plan->data, plan->data + plan->size);  // The next call may change `plan`.
  for (int number : nodes) {
    TfLiteNode* node = nullptr;
    TfLiteRegistration* registration = nullptr;
    if (context->GetNodeAndRegistration(context, number, &node, &registration) != kTfLiteOk) {
      return Refuse("tfcompress: there is no node %d", number);
    }
    const std::unique_ptr<Operator> op = MakeOperator(*registration, number);
    if (op == nullptr) continue;
    if (Refusal why = op->Read(*context, *node)) return why;
    found->push_back(number);
  }
  return {};
}

TfLiteStatus PrepareDelegate(TfLiteContext* context, TfLiteDelegate* delegate) {
  std::vector<int> nodes{0};  // laid out as a TfLiteIntArray: the count, then the nodes
  if (Refusal why = FindNodes(context, &nodes)) return Report(context, why);
  nodes[0] = static_cast<int>(nodes.size()) - 1;
  if (nodes[0] == 0) return kTfLiteOk;
  TfLiteRegistration registration{};
  registration.init = InitFused;
  registration.free = FreeFused;
  registration.prepare = PrepareFused;
  registration.invoke = InvokeFused;
  registration.custom_name = "tfcompress";
  registration.version = 1;
  const auto* array = reinterpret_cast<const TfLiteIntArray*>(nodes.data());
  return context->ReplaceNodeSubsetsWithDelegateKernels(context, registration, array, delegate);
}

TfLiteDelegate* Create(const Options& options, void (*report)(const char*)) {
  Refusal why;
  auto runtime = Runtime::Make(options, &why);
  if (runtime == nullptr) {
    if (report != nullptr) report(why.text.c_str());
    return nullptr;
  }
  auto* delegate = new Delegate;
  delegate->runtime = std::move(runtime);
  delegate->seen.data = delegate;
  delegate->seen.Prepare = PrepareDelegate;
  delegate->seen.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
  return &delegate->seen;
}

}  // namespace
}  // namespace tfcompress

TfLiteDelegate* TfcompressDelegateCreate(const TfcompressOptions* options, void (*report)(const char*)) {
  tfcompress::Options read;
  if (options != nullptr) {
    if (options->num_threads < 0 || options->num_threads > tfcompress::kMostThreads) {
      if (report != nullptr) report("num_threads is out of range; expected 0 to 64");
      return nullptr;
    }
    read.threads = options->num_threads;
    read.profile = options->profile != 0;
  }
  return tfcompress::Create(read, report);
}

void TfcompressDelegateDelete(TfLiteDelegate* delegate) {
  if (delegate != nullptr) delete static_cast<tfcompress::Delegate*>(delegate->data);
}

const char* TfcompressVersion(void) { return TFCOMPRESS_VERSION; }

int TfcompressFormatVersion(void) { return tfcompress::kFormatVersion; }

const char* TfcompressInstructionSet(int i) {
  const auto kernels = tfcompress::UsableKernels();
  return i >= 0 && static_cast<size_t>(i) < kernels.size() ? kernels[static_cast<size_t>(i)]->name : nullptr;
}

const char* TfcompressChosenInstructionSet(void) {
  std::string why;
  const auto* kernels = tfcompress::ChooseKernels(getenv(tfcompress::kInstructionsVariable), &why);
  return kernels == nullptr ? nullptr : kernels->name;
}

TfLiteDelegate* tflite_plugin_create_delegate(const char* const* keys, const char* const* values, size_t count,
                                              void (*report)(const char*)) {
  tfcompress::Options options;
  for (size_t i = 0; i < count; ++i) {
    if (tfcompress::Refusal why = tfcompress::ReadOption(keys[i], values[i], &options)) {
      if (report != nullptr) report(why.text.c_str());
      return nullptr;
    }
  }
  return tfcompress::Create(options, report);
}

void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) { TfcompressDelegateDelete(delegate); }
