// Where the tensors that live only inside one kernel lie in its memory: two that are needed at the same time lie apart.
#pragma once

#include <cstddef>
#include <vector>

namespace tfcompress {

// A tensor written at step `first` and last read at step `last`.
struct Life {
  size_t bytes;
  int first, last;
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // of each life, multiples of 64 bytes
  size_t bytes;                 // of all
};

// The largest first, each at the lowest place that is free for its whole life.
MemoryPlan PlanMemory(const std::vector<Life>& lives);

}  // namespace tfcompress
