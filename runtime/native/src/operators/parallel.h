// How the work of an operator is divided among threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "thread_pool.h"

namespace tfcompress {

struct Range {
  int begin, end;
};

// Part `part` of `parts` nearly equal parts of [0, count).
inline Range PartOf(int count, int part, int parts) {
  const auto at = [count, parts](int i) { return static_cast<int>(static_cast<int64_t>(count) * i / parts); };
  return {at(part), at(part + 1)};
}

// With fewer elements than this, waking threads costs more time than they save.
constexpr size_t kLeastParallelElements = size_t{1} << 17;

// Calls body(begin, end, thread) for all of `rows` rows of `width` elements.
template <typename Body>
void ForRows(int rows, int width, ThreadPool* threads, const Body& body) {
  if (rows == 0) return;
  const bool few = static_cast<size_t>(rows) * static_cast<size_t>(width) < kLeastParallelElements;
  const int parts = few ? 1 : std::min(rows, threads->threads());
  threads->Run(parts, [&](int part, int thread) {
    const Range range = PartOf(rows, part, parts);
    body(range.begin, range.end, thread);
  });
}

}  // namespace tfcompress
