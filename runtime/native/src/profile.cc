#include "profile.h"

#include <chrono>
#include <cstdio>
#include <map>
#include <string>

namespace tfcompress {
namespace {

double Milliseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
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

void Profile::Print(const char* instructions, const std::vector<std::string>& labels) const {
  if (inferences_ == 0) return;
  std::map<std::string, double> by_label;
  double sum = 0;
  for (size_t i = 0; i < milliseconds_.size(); ++i) {
    by_label[labels[i]] += milliseconds_[i];
    sum += milliseconds_[i];
  }
  const auto count = static_cast<double>(inferences_);
  std::string text;
  for (const auto& [label, milliseconds] : by_label) {
    char number[32];
    snprintf(number, sizeof(number), " %.3f, ", milliseconds / count);
    text += label + number;
  }
  fprintf(stderr, "tfcompress: %zu fused operators, %s, %ld inferences; ms per inference: %sall %.3f\n", labels.size(),
          instructions, inferences_, text.c_str(), sum / count);
}

}  // namespace tfcompress
