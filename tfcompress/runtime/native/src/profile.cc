#include "profile.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

namespace tfcompress {
namespace {

double Milliseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

// The operator's name; dense layers with their sizes.
std::string LabelOf(const Step& step) {
  std::string label = strchr(NameOf(step.op.kind), '.') + 1;
  if (step.op.kind != Kind::kFullyConnected) return label;
  const FullyConnectedOptions& options = step.op.dense;
  label += " " + std::to_string(options.inputs) + " to ";
  if (options.segments > 1) label += std::to_string(options.segments) + " x ";
  return label + std::to_string(options.outputs);
}

}  // namespace

void Profile::Begin() {
  ++inferences_;
  before_ = Milliseconds();
}

void Profile::Add(size_t step) {
  if (milliseconds_.size() <= step) milliseconds_.resize(step + 1);
  const double now = Milliseconds();
  milliseconds_[step] += now - before_;
  before_ = now;
}

void Profile::Print(const char* instructions, const std::vector<Step>& steps) const {
  if (inferences_ == 0) return;
  std::map<std::string, double> by_label;
  double sum = 0;
  for (size_t i = 0; i < milliseconds_.size(); ++i) {
    by_label[LabelOf(steps[i])] += milliseconds_[i];
    sum += milliseconds_[i];
  }
  const auto count = static_cast<double>(inferences_);
  std::string text;
  for (const auto& [label, milliseconds] : by_label) {
    char number[32];
    snprintf(number, sizeof(number), " %.3f, ", milliseconds / count);
    text += label + number;
  }
  fprintf(stderr, "tfcompress: a kernel of %zu operators, %s, %ld inferences; ms of one: %sall %.3f\n", steps.size(),
          instructions, inferences_, text.c_str(), sum / count);
}

}  // namespace tfcompress
