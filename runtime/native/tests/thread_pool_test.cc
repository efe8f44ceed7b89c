#include "thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace tfcompress {
namespace {

TEST(ThreadPool, RunsEachTaskOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    for (int tasks = 0; tasks < 200; ++tasks) {
      std::vector<int> done(static_cast<size_t>(tasks), 0);  // Each task has its own element, so no atomics are needed.
      pool.Run(tasks, [&](int task, int thread) {
        EXPECT_TRUE(thread >= 0 && thread < threads);
        ++done[static_cast<size_t>(task)];
      });
      EXPECT_EQ(std::count(done.begin(), done.end(), 1), tasks);
    }
  }
}

TEST(ThreadPool, AThreadRunsOneTaskAtATime) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> busy(4);
  for (int round = 0; round < 100; ++round) {
    pool.Run(16, [&](int, int thread) {
      EXPECT_EQ(busy[static_cast<size_t>(thread)]++, 0);
      std::this_thread::yield();
      --busy[static_cast<size_t>(thread)];
    });
  }
}

TEST(ThreadPool, WakesSleepingThreads) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> sum{0};
    pool.Run(50, [&](int task, int) { sum += task; });
    EXPECT_EQ(sum, 49 * 50 / 2);
  }
}

TEST(ThreadPool, CallersTakeTurns) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&pool] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<int> sum{0};
        pool.Run(7, [&](int task, int) { sum += task; });
        EXPECT_EQ(sum, 21);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace tfcompress
