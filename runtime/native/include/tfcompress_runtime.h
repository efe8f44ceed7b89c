/* libtfcompress_runtime, the packed runtime: a TensorFlow Lite delegate that runs the operators of files packed by
 * tfcompress, whose weights stay packed in memory. It links nothing of TensorFlow Lite and works in its versions from
 * 2.14 on and in LiteRT.
 *
 * Programs that load delegates by name (load_delegate in Python, TfLiteExternalDelegateCreate in C) do not need this
 * header. */
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
  int profile;     /* 1: print where the time went to stderr when the interpreter is deleted */
} TfcompressOptions;

/* Creates a delegate for any number of interpreters, which it must outlive. `options` may be NULL. Returns NULL if they
 * are invalid or if the environment variable TFCOMPRESS_INSTRUCTIONS names an instruction set that is not supported;
 * then `report`, if not NULL, gets the reason. */
TFCOMPRESS_EXPORT struct TfLiteDelegate* TfcompressDelegateCreate(const TfcompressOptions* options,
                                                                  void (*report)(const char* message));
TFCOMPRESS_EXPORT void TfcompressDelegateDelete(struct TfLiteDelegate* delegate);

/* The version of this library, such as "0.1.0", and the latest one of the packed files that it reads (docs/format.md).
 */
TFCOMPRESS_EXPORT const char* TfcompressVersion(void);
TFCOMPRESS_EXPORT int TfcompressFormatVersion(void);

/* The `i`th instruction set that both this library and this processor support, the best first; NULL after the last. */
TFCOMPRESS_EXPORT const char* TfcompressInstructionSet(int i);

/* The instruction set in use: the best, or the one that the environment variable TFCOMPRESS_INSTRUCTIONS names; NULL if
 * that one is not supported. */
TFCOMPRESS_EXPORT const char* TfcompressChosenInstructionSet(void);

/* The functions that loaders of external delegates look for. The options are num_threads and profile. */
TFCOMPRESS_EXPORT struct TfLiteDelegate* tflite_plugin_create_delegate(const char* const* keys,
                                                                       const char* const* values, size_t count,
                                                                       void (*report)(const char* message));
TFCOMPRESS_EXPORT void tflite_plugin_destroy_delegate(struct TfLiteDelegate* delegate);

#ifdef __cplusplus
}
#endif

#endif /* TFCOMPRESS_RUNTIME_H_ */
