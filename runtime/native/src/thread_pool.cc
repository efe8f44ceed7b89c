#include "thread_pool.h"

#include <sched.h>

namespace tfcompress {
namespace {

constexpr int kPausesAwake = 4000;  // about 0.1 ms: longer than the operators in between that use a single thread
constexpr uint64_t kTasksLeft = 0xffffffff;
constexpr uint64_t kOneJob = kTasksLeft + 1;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) : wanted_(threads) {
  const auto work = [](void* argument) -> void* {
    auto* worker = static_cast<Worker*>(argument);
    worker->pool->Work(worker->thread);
    return nullptr;
  };
  workers_.reserve(static_cast<size_t>(threads));  // Threads have pointers to workers, which must not move.
  for (int thread = 1; thread < threads; ++thread) {
    workers_.push_back({this, thread, {}});
    Worker* worker = &workers_.back();
    if (pthread_create(&worker->handle, nullptr, work, worker) != 0) {
      workers_.pop_back();  // The system gives no more threads; do with those there are.
      break;
    }
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(sleep_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (const Worker& worker : workers_) pthread_join(worker.handle, nullptr);
}

void ThreadPool::RunJob(int tasks, const void* body, Call call) {
  std::lock_guard<std::mutex> turn(turn_);
  tasks_ = tasks;
  body_ = body;
  call_ = call;
  unfinished_.store(tasks, std::memory_order_relaxed);
  const uint64_t job = (state_.load(std::memory_order_relaxed) & ~kTasksLeft) + kOneJob;
  state_.store(job | static_cast<uint64_t>(tasks));
  if (sleepers_.load() > 0) {
    { std::lock_guard<std::mutex> lock(sleep_); }  // Now every sleeper is asleep or has seen the job.
    wake_.notify_all();
  }
  while (TakeTask(0)) {
  }
  for (int pauses = 0; unfinished_.load(std::memory_order_acquire) > 0; ++pauses) {
    if (pauses < kPausesAwake) {
      Pause();
    } else {
      sched_yield();
    }
  }
}

// Runs one task and returns true, if there is one left.
bool ThreadPool::TakeTask(int thread) {
  uint64_t state = state_.load(std::memory_order_acquire);
  do {
    if ((state & kTasksLeft) == 0) return false;
  } while (!state_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel));
  call_(body_, tasks_ - static_cast<int>(state & kTasksLeft), thread);
  unfinished_.fetch_sub(1, std::memory_order_release);
  return true;
}

void ThreadPool::Work(int thread) {
  const auto busy = [this] { return (state_.load() & kTasksLeft) != 0 || stopping_.load(); };
  while (!stopping_.load()) {
    if (TakeTask(thread)) continue;
    for (int pauses = 0; pauses < kPausesAwake && !busy(); ++pauses) Pause();
    if (busy()) continue;
    std::unique_lock<std::mutex> lock(sleep_);
    ++sleepers_;
    wake_.wait(lock, busy);
    --sleepers_;
  }
}

}  // namespace tfcompress
