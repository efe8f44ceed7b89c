#include "graph_memory.h"

namespace tfcompress {

bool GraphMemory::Grow(size_t bytes) {
  if (memory_ != nullptr && bytes <= bytes_) return true;
  memory_.reset();  // Free the old memory first: both together may be too much.
  memory_ = Allocate(bytes);
  bytes_ = memory_ == nullptr ? 0 : bytes;
  return memory_ != nullptr;
}

}  // namespace tfcompress
