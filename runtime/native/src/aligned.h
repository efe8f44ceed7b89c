// Memory that is aligned to 64 bytes or, if it is large, to a large page. Running out of memory throws no exception.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace tfcompress {

constexpr size_t kAlignment = 64;

constexpr size_t Aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct FreeMemory {
  void operator()(void* memory) const;
};

using Memory = std::unique_ptr<char, FreeMemory>;

// Allocates zeros. Returns null if the system does not have enough memory.
Memory Allocate(size_t bytes);

// An array that is first filled with zeros. data() is null if there was not enough memory.
template <typename T>
class AlignedArray {
 public:
  AlignedArray() = default;
  explicit AlignedArray(size_t count) : memory_(Allocate(count * sizeof(T))) {}
  T* data() { return reinterpret_cast<T*>(memory_.get()); }
  const T* data() const { return reinterpret_cast<const T*>(memory_.get()); }
  T& operator[](size_t i) { return data()[i]; }

 private:
  Memory memory_;
};

}  // namespace tfcompress
