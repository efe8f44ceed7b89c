// Fetches the packed weights of the next panel into the first-level cache, piece by piece, while this panel's are used:
// they come from memory, which takes long.
#pragma once

#include "../kernels.h"
#include "simd.h"

namespace tfcompress {
namespace {

class Prefetcher {
 public:
  // Fetches what `task` reads after the panel from output `n` on, in one piece per register tile of rows.
  HWY_INLINE Prefetcher(const DenseTask& task, int n) : at_(task.next.data), left_(task.next.bytes) {
    const DenseWeights& weights = task.weights;
    const int from = n + kTileColumns;
    if (from < task.end) {
      const size_t row_bytes = PackedBlockRowBytes(weights.inputs, weights.bits);
      const int outputs = RoundUp(Min(kTileColumns, weights.outputs - from), kPackedBlockOutputs);
      at_ = weights.indices + static_cast<size_t>(from / kPackedBlockOutputs) * row_bytes;
      left_ = static_cast<size_t>(outputs / kPackedBlockOutputs) * row_bytes;
    }
    const int pieces = (task.rows + kTileRows - 1) / kTileRows;
    piece_ = (left_ / static_cast<size_t>(pieces) + kLine) / kLine * kLine;
  }

  HWY_INLINE void FetchPiece() {
    const size_t piece = piece_ < left_ ? piece_ : left_;
    for (size_t i = 0; i < piece; i += kLine) __builtin_prefetch(at_ + i, 0, 3);
    at_ += piece;
    left_ -= piece;
  }

 private:
  static constexpr size_t kLine = 64;

  const uint8_t* at_;
  size_t left_, piece_;
};

}  // namespace
}  // namespace tfcompress
