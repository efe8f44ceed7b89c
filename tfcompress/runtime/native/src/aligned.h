// Memory that begins at a multiple of 64 bytes, or of a large page where it is large. No exception when there is none.
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

// Zeros; null if the system has not as many bytes.
Memory Allocate(size_t bytes);

// An array of zeros to begin with; empty if there was no memory.
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
