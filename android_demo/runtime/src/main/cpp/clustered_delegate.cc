// The functions of Native.kt: the packed runtime's C interface for Java.
#include <jni.h>

#include <cstdint>
#include <cstring>
#include <mutex>

#include "tfcompress_runtime.h"

namespace {

std::mutex creating;
char reason[512];  // why there is no delegate; guarded by `creating`

void Report(const char* message) { strncpy(reason, message, sizeof(reason) - 1); }

jstring Text(JNIEnv* env, const char* text) { return text == nullptr ? nullptr : env->NewStringUTF(text); }

}  // namespace

extern "C" {

JNIEXPORT jlong JNICALL Java_org_tfcompress_runtime_Native_create(JNIEnv* env, jclass, jint threads) {
  TfcompressOptions options{};
  options.num_threads = threads;
  std::lock_guard<std::mutex> lock(creating);
  TfLiteDelegate* delegate = TfcompressDelegateCreate(&options, Report);
  if (delegate == nullptr) env->ThrowNew(env->FindClass("java/lang/IllegalArgumentException"), reason);
  return static_cast<jlong>(reinterpret_cast<intptr_t>(delegate));
}

JNIEXPORT void JNICALL Java_org_tfcompress_runtime_Native_delete(JNIEnv*, jclass, jlong handle) {
  TfcompressDelegateDelete(reinterpret_cast<TfLiteDelegate*>(static_cast<intptr_t>(handle)));
}

JNIEXPORT jstring JNICALL Java_org_tfcompress_runtime_Native_version(JNIEnv* env, jclass) {
  return Text(env, TfcompressVersion());
}

JNIEXPORT jstring JNICALL Java_org_tfcompress_runtime_Native_instructionSet(JNIEnv* env, jclass) {
  return Text(env, TfcompressChosenInstructionSet());
}

}  // extern "C"
