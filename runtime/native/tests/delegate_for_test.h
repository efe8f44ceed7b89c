// A delegate that is deleted when the test ends.
#pragma once

#include <memory>

#include "tfcompress_runtime.h"

namespace tfcompress {

struct DeleteDelegate {
  void operator()(TfLiteDelegate* delegate) const { TfcompressDelegateDelete(delegate); }
};

using DelegatePointer = std::unique_ptr<TfLiteDelegate, DeleteDelegate>;

inline DelegatePointer NewDelegate(int threads = 0) {
  TfcompressOptions options{};
  options.num_threads = threads;
  return DelegatePointer(TfcompressDelegateCreate(&options, nullptr));
}

}  // namespace tfcompress
