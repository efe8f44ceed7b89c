#include "refusal.h"

#include <cstdarg>
#include <cstdio>

namespace tfcompress {

Refusal Refuse(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char text[1024];
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return {text};
}

}  // namespace tfcompress
