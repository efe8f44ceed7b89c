// What libc++'s headers leave to its library, as far as the runtime uses it, without exceptions: what would throw
// aborts. And what compilers expect of a library's start files. For where there is no such library (Android without the
// NDK), and where compiling it takes longer than all of the runtime (zig).
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>

extern "C" {

void __cxa_finalize(void*);
[[noreturn]] void __cxa_pure_virtual() { abort(); }

// Tells which library a static object belongs to.
__attribute__((visibility("hidden"))) void* __dso_handle = &__dso_handle;
}

__attribute__((destructor)) static void DestroyStaticObjects() { __cxa_finalize(&__dso_handle); }

void* operator new(size_t bytes) {
  void* memory = malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) abort();
  return memory;
}
void* operator new[](size_t bytes) { return operator new(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return malloc(bytes == 0 ? 1 : bytes); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete[](void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
void operator delete[](void* memory, size_t) noexcept { free(memory); }

namespace std {
const nothrow_t nothrow{};
}

_LIBCPP_BEGIN_NAMESPACE_STD

void __throw_system_error(int, const char*) { abort(); }

string to_string(int number) { return to_string(static_cast<long long>(number)); }
string to_string(unsigned number) { return to_string(static_cast<long long>(number)); }
string to_string(long long number) {
  char text[24];
  snprintf(text, sizeof(text), "%lld", number);
  return text;
}

#if _LIBCPP_VERSION >= 15000  // Earlier versions compile strings where they are used.
template class basic_string<char>;
#endif

// The number of buckets of a hash table.
size_t __next_prime(size_t n) {
  const auto prime = [](size_t n) {
    for (size_t factor = 2; factor * factor <= n; ++factor) {
      if (n % factor == 0) return false;
    }
    return n > 1;
  };
  while (n > 0 && !prime(n)) ++n;
  return n;
}

// Owners are counted from 0 for one; those that share hold one weak ownership together.
__shared_count::~__shared_count() {}
__shared_weak_count::~__shared_weak_count() {}
const void* __shared_weak_count::__get_deleter(const type_info&) const noexcept { return nullptr; }

void __shared_weak_count::__release_weak() noexcept {
  if (__atomic_fetch_sub(&__shared_weak_owners_, 1, __ATOMIC_ACQ_REL) == 0) __on_zero_shared_weak();
}

__shared_weak_count* __shared_weak_count::lock() noexcept {
  long owners = __atomic_load_n(&__shared_owners_, __ATOMIC_SEQ_CST);
  while (owners != -1) {
    if (__atomic_compare_exchange_n(&__shared_owners_, &owners, owners + 1, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST)) {
      return this;
    }
  }
  return nullptr;
}

#ifndef _LIBCPP_HAS_TRIVIAL_MUTEX_DESTRUCTION
mutex::~mutex() noexcept { pthread_mutex_destroy(&__m_); }
#endif
void mutex::lock() {
  if (pthread_mutex_lock(&__m_) != 0) abort();
}
void mutex::unlock() noexcept { pthread_mutex_unlock(&__m_); }

condition_variable::~condition_variable() { pthread_cond_destroy(&__cv_); }
void condition_variable::notify_all() noexcept { pthread_cond_broadcast(&__cv_); }
void condition_variable::wait(unique_lock<mutex>& lock) noexcept {
  if (pthread_cond_wait(&__cv_, lock.mutex()->native_handle()) != 0) abort();
}

namespace chrono {
steady_clock::time_point steady_clock::now() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return time_point(seconds(now.tv_sec) + nanoseconds(now.tv_nsec));
}
}  // namespace chrono

_LIBCPP_END_NAMESPACE_STD
