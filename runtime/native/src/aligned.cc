#include "aligned.h"

#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace tfcompress {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;

}  // namespace

void FreeMemory::operator()(void* memory) const { free(memory); }

Memory Allocate(size_t bytes) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  const size_t alignment = bytes >= kLargePage ? kLargePage : kAlignment;
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, Aligned(bytes + 1)) != 0) return nullptr;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (alignment == kLargePage) madvise(memory, bytes / kLargePage * kLargePage, MADV_HUGEPAGE);  // may be ignored
#endif
  memset(memory, 0, Aligned(bytes + 1));
  return Memory(static_cast<char*>(memory));
}

}  // namespace tfcompress
