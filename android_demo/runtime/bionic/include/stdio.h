#pragma once

#include <stdarg.h>
#include <stddef.h>

extern "C" {

typedef struct __sFILE FILE;
extern FILE* stderr;  // since API 23
#define EOF (-1)

int remove(const char*);  // not to be mistaken for std::remove
int fprintf(FILE*, const char*, ...) __attribute__((format(printf, 2, 3)));
int snprintf(char*, size_t, const char*, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char*, size_t, const char*, va_list) __attribute__((format(printf, 3, 0)));
}
