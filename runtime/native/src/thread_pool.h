// Threads that share the tasks of one operator. Between operators they stay awake for a moment, because the next one
// comes soon.
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
  // `threads` includes the caller of Run. There are fewer if the system does not give as many.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int wanted() const { return wanted_; }
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(task, thread) once for each task in [0, tasks), where 0 <= thread < threads(), and returns when all are
  // done. A thread runs one task at a time. Allocates no memory. Calls from several threads take turns.
  template <typename Body>
  void Run(int tasks, const Body& body) {
    if (tasks <= 1 || workers_.empty()) {
      for (int task = 0; task < tasks; ++task) body(task, 0);
      return;
    }
    RunJob(tasks, &body,
           [](const void* body, int task, int thread) { (*static_cast<const Body*>(body))(task, thread); });
  }

 private:
  using Call = void (*)(const void* body, int task, int thread);

  // Not std::thread, which throws if there are no more threads; nothing else here needs exceptions.
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
  std::mutex turn_;  // held while a job runs

  // The job. Written only while no task is left, and read only by threads that have taken a task.
  int tasks_ = 0;
  const void* body_ = nullptr;
  Call call_ = nullptr;

  // The upper half counts jobs, so that a late worker cannot take a task of a later job by mistake. The lower half is
  // the number of tasks that have not been taken yet.
  std::atomic<uint64_t> state_{0};
  std::atomic<int> unfinished_{0};

  std::mutex sleep_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace tfcompress
