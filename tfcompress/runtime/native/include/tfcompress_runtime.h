/* libtfcompress_runtime: a TensorFlow Lite delegate that runs the operators of files packed by tfcompress, whose
 * weights stay clustered in memory. It links nothing of TensorFlow Lite and works in TFLite from 2.14 and in LiteRT.
 *
 * Who loads delegates by name (load_delegate in Python, TfLiteExternalDelegateCreate in C) needs none of this. */
#ifndef TFCOMPRESS_RUNTIME_H_
#define TFCOMPRESS_RUNTIME_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TFCOMPRESS_EXPORT __attribute__((visibility("default")))

struct TfLiteDelegate; /* TensorFlow Lite's */

typedef struct TfcompressOptions {
  int num_threads; /* 1 to 64; 0: as many as the interpreter recommends */
  int profile;     /* 1: each kernel writes where its time went to stderr when the interpreter goes */
} TfcompressOptions;

/* A delegate for any number of interpreters, which it has to outlive; `options` may be NULL. NULL if they are wrong or
 * TFCOMPRESS_INSTRUCTIONS names an instruction set that is not usable: `report`, if not NULL, is told why. */
TFCOMPRESS_EXPORT struct TfLiteDelegate* TfcompressDelegateCreate(const TfcompressOptions* options,
                                                                  void (*report)(const char* message));
TFCOMPRESS_EXPORT void TfcompressDelegateDelete(struct TfLiteDelegate* delegate);

/* Of this library, such as "0.1.0", and of the packed files that it reads (docs/format.md). */
TFCOMPRESS_EXPORT const char* TfcompressVersion(void);
TFCOMPRESS_EXPORT int TfcompressFormatVersion(void);

/* The `i`th instruction set that this library and this processor have, the best first; NULL behind the last. */
TFCOMPRESS_EXPORT const char* TfcompressInstructionSet(int i);

/* The one that is taken now: the best, or the one in the environment variable TFCOMPRESS_INSTRUCTIONS; NULL if that is
 * not usable. */
TFCOMPRESS_EXPORT const char* TfcompressChosenInstructionSet(void);

/* What loaders of external delegates look for. Options by name: num_threads, profile. */
TFCOMPRESS_EXPORT struct TfLiteDelegate* tflite_plugin_create_delegate(const char* const* keys,
                                                                       const char* const* values, size_t count,
                                                                       void (*report)(const char* message));
TFCOMPRESS_EXPORT void tflite_plugin_destroy_delegate(struct TfLiteDelegate* delegate);

#ifdef __cplusplus
}
#endif

#endif /* TFCOMPRESS_RUNTIME_H_ */
