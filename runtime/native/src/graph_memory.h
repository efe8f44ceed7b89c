// Memory that the fused operators of a graph use in turns, because they run one after another.
#pragma once

#include <cstddef>

#include "aligned.h"

namespace tfcompress {

class GraphMemory {
 public:
  // Makes room for at least `bytes`, which may move. Returns false, and holds none, if the system does not have enough.
  bool Grow(size_t bytes);

  size_t bytes() const { return bytes_; }
  char* data() const { return memory_.get(); }

 private:
  Memory memory_;
  size_t bytes_ = 0;
};

}  // namespace tfcompress
