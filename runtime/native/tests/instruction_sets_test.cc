#include "instruction_sets.h"

#include <gtest/gtest.h>

#include <cstring>

namespace tfcompress {
namespace {

#if defined(__aarch64__)
constexpr char kLast[] = "neon";
#else
constexpr char kLast[] = "portable";
#endif

TEST(InstructionSetsTest, TheLastRunsOnEveryProcessor) {
  const auto usable = UsableKernels();
  ASSERT_FALSE(usable.empty());
  EXPECT_STREQ(usable.back()->name, kLast);
  for (const Kernels* kernels : usable) {
    EXPECT_GT(kernels->panel_outputs, 0) << kernels->name;
    EXPECT_EQ(kernels->panel_outputs % kPackedBlockOutputs, 0) << kernels->name;
  }
}

TEST(InstructionSetsTest, TheBestIsChosenUnlessOneIsNamed) {
  std::string why;
  EXPECT_EQ(ChooseKernels(nullptr, &why), UsableKernels().front());
  EXPECT_EQ(ChooseKernels("", &why), UsableKernels().front());
  for (const Kernels* kernels : UsableKernels()) EXPECT_EQ(ChooseKernels(kernels->name, &why), kernels);
  EXPECT_EQ(why, "");
}

TEST(InstructionSetsTest, UnknownNamesAreRefused) {
  std::string why;
  EXPECT_EQ(ChooseKernels("mmx", &why), nullptr);
  EXPECT_NE(why.find("TFCOMPRESS_INSTRUCTIONS is 'mmx'"), std::string::npos) << why;
  EXPECT_NE(why.find(kLast), std::string::npos) << why;
}

}  // namespace
}  // namespace tfcompress
