#pragma once

#include <stddef.h>

extern "C" {

void* malloc(size_t);
void free(void*);
int posix_memalign(void**, size_t alignment, size_t bytes);
[[noreturn]] void abort(void);
char* getenv(const char*);
long strtol(const char*, char** end, int base);

// libc++ refers to them.
typedef struct {
  int quot, rem;
} div_t;
typedef struct {
  long quot, rem;
} ldiv_t;
typedef struct {
  long long quot, rem;
} lldiv_t;
int abs(int);
long labs(long);
long long llabs(long long);
div_t div(int, int);
ldiv_t ldiv(long, long);
lldiv_t lldiv(long long, long long);
}
