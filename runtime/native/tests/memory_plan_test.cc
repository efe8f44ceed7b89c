#include "memory_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace tfcompress {
namespace {

TEST(MemoryPlan, TensorsWithoutACommonStepShareMemory) {
  const MemoryPlan plan = PlanMemory({{1000, 0, 1}, {1000, 1, 2}, {1000, 2, 3}});
  EXPECT_EQ(plan.bytes, 2 * 1024U);
  EXPECT_EQ(plan.offsets[0], plan.offsets[2]);
  EXPECT_NE(plan.offsets[0], plan.offsets[1]);
}

TEST(MemoryPlan, NoBytesNeedNoMemory) {
  EXPECT_EQ(PlanMemory({}).bytes, 0U);
  EXPECT_EQ(PlanMemory({{0, 0, 3}}).bytes, 0U);
}

TEST(MemoryPlan, TensorsWithACommonStepDoNotOverlap) {
  std::mt19937 random(0);
  for (int round = 0; round < 300; ++round) {
    std::vector<Life> lives(random() % 40);
    for (Life& life : lives) {
      life.first = static_cast<int>(random() % 20);
      life.last = life.first + static_cast<int>(random() % 8);
      life.bytes = random() % 5000;
    }
    const MemoryPlan plan = PlanMemory(lives);
    for (size_t i = 0; i < lives.size(); ++i) {
      EXPECT_EQ(plan.offsets[i] % 64, 0U);
      EXPECT_LE(plan.offsets[i] + lives[i].bytes, plan.bytes);
      for (size_t j = 0; j < i; ++j) {
        const bool together = lives[i].first <= lives[j].last && lives[j].first <= lives[i].last;
        const bool apart =
            plan.offsets[i] + lives[i].bytes <= plan.offsets[j] || plan.offsets[j] + lives[j].bytes <= plan.offsets[i];
        EXPECT_TRUE(!together || apart || lives[i].bytes == 0 || lives[j].bytes == 0);
      }
    }
  }
}

}  // namespace
}  // namespace tfcompress
