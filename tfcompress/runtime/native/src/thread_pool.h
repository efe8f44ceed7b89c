// Threads that share the tasks of one step. Between steps they wait awake for a moment, since the next one comes soon.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace tfcompress {

class ThreadPool {
 public:
  // `threads` in all, the caller of Run among them; fewer if the system gives no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int wanted() const { return wanted_; }
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(task, thread) once for each task in [0, tasks), 0 <= thread < threads(), and returns when all are done.
  // One thread has one task at a time. Allocates nothing. Callers in several threads take turns.
  template <typename Body>
  void Run(int tasks, const Body& body) {
    if (tasks <= 1 || workers_.empty()) {
      for (int task = 0; task < tasks; ++task) body(task, 0);
      return;
    }
    RunJob(tasks, &body, [](const void* of, int task, int thread) { (*static_cast<const Body*>(of))(task, thread); });
  }

 private:
  using Call = void (*)(const void* body, int task, int thread);

  // Not std::thread, which throws if there are no more threads: nothing else here needs exceptions.
  struct Worker {
    ThreadPool* pool;
    int thread;
    pthread_t handle;
  };

  void RunJob(int tasks, const void* body, Call call);
  bool TakeTask(int thread);
  void Work(int thread);

  const int wanted_;
  std::vector<Worker> workers_;
  std::mutex turn_;  // One job at a time.

  // The job: written while no task is left, read by whom has taken one.
  int tasks_ = 0;
  const void* body_ = nullptr;
  Call call_ = nullptr;

  // How often there was a job in the upper half, so that a late worker takes nothing of a later job by mistake; tasks
  // not taken yet in the lower one.
  std::atomic<uint64_t> state_{0};
  std::atomic<int> unfinished_{0};

  std::mutex sleep_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace tfcompress
