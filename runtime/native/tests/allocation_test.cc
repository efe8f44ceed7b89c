// An inference allocates no memory. Sanitizers have their own allocator, so this test is not built with them.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include "delegate_for_test.h"
#include "packed_model.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<int> allocations{0};
std::atomic<size_t> aligned_bytes{0};  // as the runtime allocates them

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
  if (counting) ++allocations, aligned_bytes += bytes;
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

// Returns the bytes that the runtime takes for inputs of its shape, where each layer is a node of its own.
size_t BytesOfPrepare(int layers) {
  PackedModel model;
  int y = model.Input({1, 40, 64});
  for (int layer = 0; layer < layers; ++layer) y = model.EncoderLayer(model.Copy(y), 4, -1, Computing::kInt8);
  model.interpreter.SetOutputs({y});
  const DelegatePointer delegate = NewDelegate(1);
  EXPECT_TRUE(model.interpreter.Apply(delegate.get()));
  EXPECT_EQ(model.interpreter.fused_nodes(), static_cast<size_t>(layers));
  aligned_bytes = 0;
  counting = true;
  const bool fine = model.interpreter.Allocate();
  counting = false;
  EXPECT_TRUE(fine) << model.interpreter.errors();
  size_t of_tensors = 0;  // which the interpreter takes
  for (size_t i = 0; i < model.interpreter.context()->tensors_size; ++i) {
    const TfLiteTensor& tensor = model.interpreter.tensor(static_cast<int>(i));
    if (tensor.allocation_type == kTfLiteArenaRw) of_tensors += tensor.bytes;
  }
  return aligned_bytes - of_tensors;
}

TEST(Prepare, TakesMemoryOnceForAllNodesOfAGraph) {
  const size_t one = BytesOfPrepare(1);
  EXPECT_GT(one, 0U);
  EXPECT_EQ(BytesOfPrepare(4), one);
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
