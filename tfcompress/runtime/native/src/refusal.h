// Why something is not done, as text; empty if nothing speaks against it.
#pragma once

#include <string>

namespace tfcompress {

struct Refusal {
  std::string text;
  explicit operator bool() const { return !text.empty(); }
};

// As printf.
Refusal Refuse(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace tfcompress
