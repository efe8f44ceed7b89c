// Packed weights come from far: the next panel's are fetched into the first-level cache piece by piece while this one's
// are used.
#pragma once

#include "../kernels.h"
#include "simd.h"

namespace tfcompress {
namespace {

class Prefetcher {
 public:
  // What is read after the panel of outputs from `n` on, of a layer of which [.., end) are computed; in `pieces`.
  HWY_INLINE Prefetcher(const DenseWeights& weights, int n, int end, Upcoming next, int pieces) {
    const int from = n + kTileColumns;
    const uint8_t* data = next.data;
    size_t bytes = next.bytes;
    if (from < end) {
      const size_t block = PackedBlockRowBytes(weights.inputs, weights.bits);
      const int outputs = Min(kTileColumns, weights.outputs - from);
      data = weights.indices + static_cast<size_t>(from / kPackedBlockOutputs) * block;
      bytes = static_cast<size_t>((outputs + kPackedBlockOutputs - 1) / kPackedBlockOutputs) * block;
    }
    at_ = data;
    left_ = bytes;
    piece_ = (bytes / static_cast<size_t>(pieces) + kLine) / kLine * kLine;
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
