// The reason why something is refused, as text; empty if it is not refused.
#pragma once

#include <string>

namespace tfcompress {

struct Refusal {
  std::string text;
  explicit operator bool() const { return !text.empty(); }
};

// Takes the arguments of printf.
Refusal Refuse(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace tfcompress
