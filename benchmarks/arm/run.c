// Runs a .tflite file in one thread with TensorFlow Lite's C API: one inference to warm up, and one that is counted.
//   run MODEL OUTPUT [LIBRARY [OFFSET:PART...]]
// LIBRARY is a delegate. Code at the hexadecimal OFFSET in it begins PART. Writes all outputs to the file OUTPUT, one
// after the other. Prints the addresses of TensorFlow Lite and LIBRARY, and what the plugin counts.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "count.h"

// Declarations of TensorFlow Lite, whose headers are not needed.
typedef struct TfLiteModel TfLiteModel;
typedef struct TfLiteInterpreterOptions TfLiteInterpreterOptions;
typedef struct TfLiteInterpreter TfLiteInterpreter;
typedef struct TfLiteTensor TfLiteTensor;
typedef struct TfLiteDelegate TfLiteDelegate;
TfLiteModel* TfLiteModelCreateFromFile(const char*);
TfLiteInterpreterOptions* TfLiteInterpreterOptionsCreate(void);
void TfLiteInterpreterOptionsSetNumThreads(TfLiteInterpreterOptions*, int32_t);
void TfLiteInterpreterOptionsAddDelegate(TfLiteInterpreterOptions*, TfLiteDelegate*);
TfLiteInterpreter* TfLiteInterpreterCreate(const TfLiteModel*, const TfLiteInterpreterOptions*);
int TfLiteInterpreterAllocateTensors(TfLiteInterpreter*);
int TfLiteInterpreterInvoke(TfLiteInterpreter*);
int32_t TfLiteInterpreterGetInputTensorCount(const TfLiteInterpreter*);
TfLiteTensor* TfLiteInterpreterGetInputTensor(const TfLiteInterpreter*, int32_t);
int32_t TfLiteInterpreterGetOutputTensorCount(const TfLiteInterpreter*);
const TfLiteTensor* TfLiteInterpreterGetOutputTensor(const TfLiteInterpreter*, int32_t);
void* TfLiteTensorData(const TfLiteTensor*);
size_t TfLiteTensorByteSize(const TfLiteTensor*);
TfLiteDelegate* TfLiteXNNPackDelegateCreate(const void* options);

static void Fail(const char* what) {
  fprintf(stderr, "run: %s\n", what);
  exit(1);
}

static uintptr_t BaseOf(const void* function) {
  Dl_info found;
  if (dladdr(function, &found) == 0) Fail("a function does not belong to any library");
  printf("library %lx %s\n", (unsigned long)found.dli_fbase, found.dli_fname);
  return (uintptr_t)found.dli_fbase;
}

static TfLiteDelegate* Delegate(const char* path, char** entries) {
  typedef TfLiteDelegate* Create(const char* const*, const char* const*, size_t, void (*)(const char*));
  void* library = dlopen(path, RTLD_NOW);
  if (library == NULL) Fail(dlerror());
  Create* create = (Create*)dlsym(library, "tflite_plugin_create_delegate");
  if (create == NULL) Fail(dlerror());
  const uintptr_t base = BaseOf((const void*)create);
  for (; *entries != NULL; ++entries) {
    char* part;
    const uintptr_t offset = strtoul(*entries, &part, 16);
    syscall(kCountEntry, base + offset, strtoul(part + 1, NULL, 10));
  }
  const char *key = "num_threads", *value = "1";
  return create(&key, &value, 1, Fail);
}

// Fills a tensor with numbers from -1 to 1.
static void Fill(TfLiteTensor* tensor) {
  float* to = TfLiteTensorData(tensor);
  for (size_t i = 0; i < TfLiteTensorByteSize(tensor) / sizeof(float); ++i) to[i] = (float)(i * 37 % 101) / 50 - 1;
}

int main(int count, char** arguments) {
  if (count < 3) Fail("usage: run MODEL OUTPUT [LIBRARY [OFFSET:PART...]]");
  TfLiteInterpreterOptions* options = TfLiteInterpreterOptionsCreate();
  TfLiteInterpreterOptionsSetNumThreads(options, 1);
  if (count > 3) TfLiteInterpreterOptionsAddDelegate(options, Delegate(arguments[3], arguments + 4));
  BaseOf((const void*)TfLiteInterpreterInvoke);
  TfLiteDelegate* xnnpack =
      TfLiteXNNPackDelegateCreate(NULL);  // This library has XNNPACK but does not use it by default.
  if (xnnpack == NULL) Fail("XNNPACK is missing");
  TfLiteInterpreterOptionsAddDelegate(options, xnnpack);
  TfLiteModel* model = TfLiteModelCreateFromFile(arguments[1]);
  TfLiteInterpreter* interpreter = model == NULL ? NULL : TfLiteInterpreterCreate(model, options);
  if (interpreter == NULL || TfLiteInterpreterAllocateTensors(interpreter) != 0) Fail("the model cannot be loaded");
  for (int i = 0; i < TfLiteInterpreterGetInputTensorCount(interpreter); ++i) {
    Fill(TfLiteInterpreterGetInputTensor(interpreter, i));
  }
  if (TfLiteInterpreterInvoke(interpreter) != 0) Fail("the inference failed");
  syscall(kCountBegin);
  if (TfLiteInterpreterInvoke(interpreter) != 0) Fail("the inference failed");
  fflush(stdout);
  syscall(kCountEnd);
  FILE* file = fopen(arguments[2], "wb");
  if (file == NULL) Fail("OUTPUT cannot be written");
  for (int i = 0; i < TfLiteInterpreterGetOutputTensorCount(interpreter); ++i) {
    const TfLiteTensor* output = TfLiteInterpreterGetOutputTensor(interpreter, i);
    fwrite(TfLiteTensorData(output), 1, TfLiteTensorByteSize(output), file);
  }
  return fclose(file);
}
