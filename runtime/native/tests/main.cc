#include <gtest/gtest.h>

#include <cstdlib>

#include "tfcompress_runtime.h"

constexpr int kSkipped = 77;  // CMakeLists.txt tells ctest that this means "skipped".

int main(int count, char** arguments) {
  testing::InitGoogleTest(&count, arguments);
  if (TfcompressChosenInstructionSet() == nullptr) {
    printf("This processor does not support %s.\n", getenv("TFCOMPRESS_INSTRUCTIONS"));
    return kSkipped;
  }
  return RUN_ALL_TESTS();
}
