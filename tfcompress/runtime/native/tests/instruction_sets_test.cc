#include "instruction_sets.h"

#include <gtest/gtest.h>

#include <cstring>

namespace tfcompress {
namespace {

TEST(InstructionSetsTest, TheLastIsPortable) {
  const auto usable = UsableKernels();
  ASSERT_FALSE(usable.empty());
  EXPECT_STREQ(usable.back()->name, "portable");
  for (const Kernels* kernels : usable) {
    EXPECT_GT(kernels->panel, 0) << kernels->name;
    EXPECT_EQ(kernels->panel % kBlockOutputs, 0) << kernels->name;
  }
}

TEST(InstructionSetsTest, TheBestIsTakenUnlessOneIsNamed) {
  std::string why;
  EXPECT_EQ(ChooseKernels(nullptr, &why), UsableKernels().front());
  EXPECT_EQ(ChooseKernels("", &why), UsableKernels().front());
  for (const Kernels* kernels : UsableKernels()) EXPECT_EQ(ChooseKernels(kernels->name, &why), kernels);
  EXPECT_EQ(why, "");
}

TEST(InstructionSetsTest, AnUnknownOneIsRefused) {
  std::string why;
  EXPECT_EQ(ChooseKernels("mmx", &why), nullptr);
  EXPECT_NE(why.find("TFCOMPRESS_INSTRUCTIONS is 'mmx'"), std::string::npos) << why;
  EXPECT_NE(why.find("portable"), std::string::npos) << why;
}

}  // namespace
}  // namespace tfcompress
