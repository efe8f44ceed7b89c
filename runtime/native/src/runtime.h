// What all fused operators of a delegate share: its options, its instruction set and its threads.
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

// Reads an option by its name for load_delegate: num_threads or profile.
Refusal ReadOption(const char* key, const char* value, Options* options);

class Runtime {
 public:
  // Chooses the best instruction set of this processor, or the one that kInstructionsVariable names. Returns null, with
  // a reason, if that one is not supported.
  static std::shared_ptr<Runtime> Make(const Options& options, Refusal* why);
  Runtime(const Options& options, const Kernels* kernels) : options_(options), kernels_(kernels) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  const Kernels& kernels() const { return *kernels_; }
  bool profiling() const { return options_.profile; }

  // Returns the threads for an interpreter that recommends `recommended` of them. Fused operators that want the same
  // number share them.
  std::shared_ptr<ThreadPool> Threads(int recommended);

 private:
  const Options options_;
  const Kernels* const kernels_;
  std::mutex mutex_;
  std::weak_ptr<ThreadPool> threads_;  // guarded by mutex_
};

}  // namespace tfcompress
