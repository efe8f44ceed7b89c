// Types of the sizes that they have in 64-bit processes. Their alignment is that of int32_t: more does no harm, and
// glibc, on which libraries are tested, wants it.
#pragma once

#include <stdint.h>
#include <time.h>

extern "C" {

typedef long pthread_t;
typedef struct __pthread_attr pthread_attr_t;
typedef struct {
  int64_t __private[5];
} pthread_mutex_t;
typedef long pthread_mutexattr_t;
typedef struct {
  int64_t __private[6];
} pthread_cond_t;
typedef long pthread_condattr_t;
typedef int pthread_key_t;
typedef int pthread_once_t;

// All zeros.
#define PTHREAD_MUTEX_INITIALIZER \
  {                               \
    {}                            \
  }
#define PTHREAD_COND_INITIALIZER \
  {                              \
    {}                           \
  }
#define PTHREAD_ONCE_INIT 0
#define PTHREAD_MUTEX_RECURSIVE 1

int pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int pthread_join(pthread_t, void**);
int pthread_mutex_lock(pthread_mutex_t*);
int pthread_mutex_unlock(pthread_mutex_t*);
int pthread_mutex_destroy(pthread_mutex_t*);
int pthread_cond_wait(pthread_cond_t*, pthread_mutex_t*);
int pthread_cond_broadcast(pthread_cond_t*);
int pthread_cond_destroy(pthread_cond_t*);

// libc++ refers to them.
int pthread_detach(pthread_t);
int pthread_equal(pthread_t, pthread_t);
pthread_t pthread_self(void);
int pthread_once(pthread_once_t*, void (*)(void));
int pthread_mutex_init(pthread_mutex_t*, const pthread_mutexattr_t*);
int pthread_mutex_trylock(pthread_mutex_t*);
int pthread_mutexattr_init(pthread_mutexattr_t*);
int pthread_mutexattr_settype(pthread_mutexattr_t*, int);
int pthread_mutexattr_destroy(pthread_mutexattr_t*);
int pthread_cond_signal(pthread_cond_t*);
int pthread_cond_timedwait(pthread_cond_t*, pthread_mutex_t*, const struct timespec*);
int pthread_key_create(pthread_key_t*, void (*)(void*));
void* pthread_getspecific(pthread_key_t);
int pthread_setspecific(pthread_key_t, const void*);
}
