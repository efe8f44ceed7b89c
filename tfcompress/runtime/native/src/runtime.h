// What all kernels of one delegate share: its options, the instruction set, the threads.
#pragma once

#include <memory>
#include <mutex>

#include "kernels.h"
#include "refusal.h"
#include "thread_pool.h"

namespace tfcompress {

constexpr int kMostThreads = 64;

struct Options {
  int threads = 0;  // 0: as many as the interpreter recommends
  bool profile = false;
};

// Reads one option, by the names that load_delegate takes: num_threads, profile.
Refusal ReadOption(const char* key, const char* value, Options* options);

class Runtime {
 public:
  // With the best instruction set of this processor, or that of kInstructionsVariable; null if that is not usable.
  static std::shared_ptr<Runtime> Make(const Options& options, Refusal* why);
  Runtime(const Options& options, const Kernels* kernels) : options_(options), kernels_(kernels) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  const Kernels& kernels() const { return *kernels_; }
  bool profiling() const { return options_.profile; }

  // The threads of an interpreter that recommends `recommended`; kernels with the same number have the same ones.
  std::shared_ptr<ThreadPool> Threads(int recommended);

 private:
  const Options options_;
  const Kernels* const kernels_;
  std::mutex mutex_;
  std::weak_ptr<ThreadPool> threads_;  // under the mutex
};

}  // namespace tfcompress
