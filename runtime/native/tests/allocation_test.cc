// An inference allocates no memory. Sanitizers have their own allocator, so this test is not built with them.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include "delegate_for_test.h"
#include "packed_model.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

}  // namespace

// All allocations of the C library and of operator new go through these functions, if their visibility is default.
#pragma GCC visibility push(default)
extern "C" {

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t count, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
  if (counting) ++allocations;
  return __libc_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) {
  if (counting) ++allocations;
  return __libc_calloc(count, bytes);
}

void* realloc(void* memory, size_t bytes) {
  if (counting) ++allocations;
  return __libc_realloc(memory, bytes);
}

int posix_memalign(void** memory, size_t alignment, size_t bytes) {
  if (counting) ++allocations;
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? 12 : 0;
}

}  // extern "C"
#pragma GCC visibility pop

namespace tfcompress {
namespace {

TEST(Invoke, AllocatesNoMemory) {
  for (Computing computing : {Computing::kFloat32, Computing::kInt8}) {
    for (int threads : {1, 3}) {
      PackedModel model;
      const int ids = model.Ids({1, 40});
      int y = model.Embedding(ids, 50, 64, 6);
      for (int layer = 0; layer < 2; ++layer) y = model.EncoderLayer(y, 4, -1, computing);
      model.interpreter.SetOutputs({y});
      const DelegatePointer delegate = NewDelegate(threads);
      ASSERT_TRUE(model.interpreter.Apply(delegate.get()) && model.interpreter.Allocate());
      allocations = 0;
      counting = true;
      bool fine = true;
      for (int round = 0; round < 3; ++round) fine = model.interpreter.Invoke() && fine;
      counting = false;
      EXPECT_TRUE(fine);
      EXPECT_EQ(allocations, 0);
    }
  }
}

TEST(Allocations, AreCounted) {
  static void* volatile memory;  // Otherwise the compiler would remove the allocations.
  allocations = 0;
  counting = true;
  memory = malloc(10);
  free(memory);
  memory = new char[10];
  counting = false;
  delete[] static_cast<char*>(memory);
  EXPECT_EQ(allocations, 2);
}

}  // namespace
}  // namespace tfcompress
