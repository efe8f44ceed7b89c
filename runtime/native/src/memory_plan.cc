#include "memory_plan.h"

#include <algorithm>
#include <numeric>

#include "aligned.h"

namespace tfcompress {

MemoryPlan PlanMemory(const std::vector<Life>& lives) {
  std::vector<size_t> order(lives.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&lives](size_t a, size_t b) { return lives[a].bytes > lives[b].bytes; });
  MemoryPlan plan{std::vector<size_t>(lives.size(), 0), 0};
  std::vector<size_t> placed;  // by offset
  for (size_t i : order) {
    const size_t bytes = Aligned(lives[i].bytes);
    size_t offset = 0;
    for (size_t other : placed) {
      const bool together = lives[other].first <= lives[i].last && lives[i].first <= lives[other].last;
      if (!together || offset >= plan.offsets[other] + Aligned(lives[other].bytes)) continue;
      if (offset + bytes <= plan.offsets[other]) break;
      offset = plan.offsets[other] + Aligned(lives[other].bytes);
    }
    plan.offsets[i] = offset;
    plan.bytes = std::max(plan.bytes, offset + bytes);
    const auto place = std::upper_bound(placed.begin(), placed.end(), offset,
                                        [&plan](size_t at, size_t other) { return at < plan.offsets[other]; });
    placed.insert(place, i);
  }
  return plan;
}

}  // namespace tfcompress
