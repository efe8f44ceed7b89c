// Where the time of a kernel goes, a line on the error stream at its end.
#pragma once

#include <vector>

#include "steps.h"

namespace tfcompress {

class Profile {
 public:
  void Begin();           // of an inference
  void Add(size_t step);  // The step has just ended.
  void Print(const char* instructions, const std::vector<Step>& steps) const;

 private:
  std::vector<double> milliseconds_;  // by step, of all inferences
  long inferences_ = 0;
  double before_ = 0;
};

}  // namespace tfcompress
