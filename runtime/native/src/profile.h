// Measures where the time of fused operators goes, and prints it in one line to stderr at the end.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace tfcompress {

class Profile {
 public:
  void Begin();           // An inference begins.
  void Add(size_t step);  // Operator `step` has just ended.

  // `labels` has one name per operator; the times of equal names are added up. Prints nothing without inferences.
  void Print(const char* instructions, const std::vector<std::string>& labels) const;

 private:
  std::vector<double> milliseconds_;  // per operator, over all inferences
  long inferences_ = 0;
  double before_ = 0;
};

}  // namespace tfcompress
