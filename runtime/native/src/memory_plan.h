// Plans where the tensors that only fused operators use lie in memory: those needed at the same time do not overlap.
#pragma once

#include <cstddef>
#include <vector>

namespace tfcompress {

// A tensor that step `first` writes and step `last` is the last to read.
struct Life {
  size_t bytes;
  int first, last;
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // of each tensor, multiples of 64 bytes
  size_t bytes;                 // in total
};

// Places the largest first, each at the lowest offset that is free during its whole life.
MemoryPlan PlanMemory(const std::vector<Life>& lives);

}  // namespace tfcompress
