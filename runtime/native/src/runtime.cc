#include "runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "instruction_sets.h"

namespace tfcompress {

Refusal ReadOption(const char* key, const char* value, Options* options) {
  char* end = nullptr;
  const long number = strtol(value, &end, 10);
  const bool whole = end != value && *end == '\0';
  if (strcmp(key, "num_threads") == 0) {
    if (!whole || number < 1 || number > kMostThreads) {
      return Refuse("option num_threads is %s; expected 1 to %d", value, kMostThreads);
    }
    options->threads = static_cast<int>(number);
  } else if (strcmp(key, "profile") == 0) {
    if (!whole || number < 0 || number > 1) return Refuse("option profile is %s; expected 0 or 1", value);
    options->profile = number == 1;
  } else {
    return Refuse("there is no option %s; the options are num_threads and profile", key);
  }
  return {};
}

std::shared_ptr<Runtime> Runtime::Make(const Options& options, Refusal* why) {
  std::string reason;
  const Kernels* kernels = ChooseKernels(getenv(kInstructionsVariable), &reason);
  if (kernels == nullptr) {
    *why = Refuse("%s", reason.c_str());
    return nullptr;
  }
  return std::make_shared<Runtime>(options, kernels);
}

std::shared_ptr<ThreadPool> Runtime::Threads(int recommended) {
  const int wanted = options_.threads > 0 ? options_.threads : recommended;  // -1 if nobody told the interpreter
  const int threads = std::clamp(wanted, 1, kMostThreads);
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<ThreadPool> pool = threads_.lock();
  if (pool == nullptr || pool->wanted() != threads) {
    pool = std::make_shared<ThreadPool>(threads);
    threads_ = pool;
  }
  return pool;
}

std::shared_ptr<GraphMemory> Runtime::MemoryOf(const TfLiteContext* context) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto at = memories_.begin(); at != memories_.end();) at = at->second.expired() ? memories_.erase(at) : ++at;
  std::weak_ptr<GraphMemory>& kept = memories_[context];
  std::shared_ptr<GraphMemory> memory = kept.lock();
  if (memory == nullptr) kept = memory = std::make_shared<GraphMemory>();
  return memory;
}

}  // namespace tfcompress
