// The delegate as an interpreter sees it: takes all our operators of a graph; neighbours become one kernel (encoder.h).
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "encoder.h"
#include "instruction_sets.h"
#include "operators.h"
#include "runtime.h"
#include "tfcompress_runtime.h"
#include "tflite_abi.h"

namespace tfcompress {
namespace {

struct Delegate {
  TfLiteDelegate seen{};  // by the interpreter
  std::shared_ptr<Runtime> runtime;
};

TfLiteStatus Report(TfLiteContext* context, const Refusal& why) {
  if (!why) return kTfLiteOk;
  context->ReportError(context, "%s. ", why.text.c_str());  // Others are written right behind it.
  return kTfLiteError;
}

void* InitKernel(TfLiteContext* context, const char* buffer, size_t) {
  const auto* parameters = reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  const auto* delegate = static_cast<const Delegate*>(parameters->delegate->data);
  Refusal why;
  auto encoder =
      Encoder::Make(context, *parameters->nodes_to_replace, *parameters->output_tensors, delegate->runtime, &why);
  Report(context, why);
  return encoder.release();
}

void FreeKernel(TfLiteContext*, void* encoder) { delete static_cast<Encoder*>(encoder); }

TfLiteStatus PrepareKernel(TfLiteContext* context, TfLiteNode* node) {
  if (node->user_data == nullptr) return kTfLiteError;  // InitKernel has said why.
  return Report(context, static_cast<Encoder*>(node->user_data)->Prepare(context));
}

TfLiteStatus InvokeKernel(TfLiteContext* context, TfLiteNode* node) {
  if (node->user_data == nullptr) return kTfLiteError;
  return Report(context, static_cast<Encoder*>(node->user_data)->Invoke(context));
}

// Our nodes, checked: what is wrong is said before the graph has been changed.
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
    Kind kind;
    if (!KindOf(*registration, &kind)) continue;
    Operator op;
    if (Refusal why = ReadOperator(*context, number, *node, kind, &op)) return why;
    found->push_back(number);
  }
  return {};
}

TfLiteStatus PrepareDelegate(TfLiteContext* context, TfLiteDelegate* delegate) {
  std::vector<int> nodes{0};  // The count, then the nodes: a TfLiteIntArray.
  if (Refusal why = FindNodes(context, &nodes)) return Report(context, why);
  nodes[0] = static_cast<int>(nodes.size()) - 1;
  if (nodes[0] == 0) return kTfLiteOk;
  TfLiteRegistration registration{};
  registration.init = InitKernel;
  registration.free = FreeKernel;
  registration.prepare = PrepareKernel;
  registration.invoke = InvokeKernel;
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
      if (report != nullptr) report("num_threads is out of range; needed is 0 to 64");
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
