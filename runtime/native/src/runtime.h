// What all fused operators of a delegate share: its options, its instruction set, its threads and, within a graph,
// their memory.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>

#include "graph_memory.h"
#include "kernels.h"
#include "refusal.h"
#include "tflite_abi.h"
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

  // Returns the memory of the graph that `context` belongs to. Each graph has its own: interpreters may run at once.
  std::shared_ptr<GraphMemory> MemoryOf(const TfLiteContext* context);

 private:
  const Options options_;
  const Kernels* const kernels_;
  std::mutex mutex_;
  std::weak_ptr<ThreadPool> threads_;                                              // guarded by mutex_
  std::unordered_map<const TfLiteContext*, std::weak_ptr<GraphMemory>> memories_;  // guarded by mutex_
};

}  // namespace tfcompress
