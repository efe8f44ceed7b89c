#include <gtest/gtest.h>

#include <cstdlib>

#include "tfcompress_runtime.h"

constexpr int kSkipped = 77;  // ctest is told so.

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  if (TfcompressChosenInstructionSet() == nullptr) {
    printf("This processor has no %s.\n", getenv("TFCOMPRESS_INSTRUCTIONS"));
    return kSkipped;
  }
  return RUN_ALL_TESTS();
}
