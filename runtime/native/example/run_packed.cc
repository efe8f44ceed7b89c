// run_packed FILE.tflite runs a packed file with TensorFlow Lite's C API, on zeros, and prints its first output.
#include <cstdio>
#include <memory>
#include <vector>

#include "tensorflow/lite/c/c_api.h"
#include "tfcompress_runtime.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: run_packed FILE.tflite\n"), 2;
  // The interpreter uses the delegate and the model, so that it is declared last and deleted first.
  const std::unique_ptr<TfLiteDelegate, decltype(&TfcompressDelegateDelete)> delegate(
      TfcompressDelegateCreate(nullptr, [](const char* reason) { std::fprintf(stderr, "%s\n", reason); }),
      TfcompressDelegateDelete);
  const std::unique_ptr<TfLiteModel, decltype(&TfLiteModelDelete)> model(TfLiteModelCreateFromFile(argv[1]),
                                                                         TfLiteModelDelete);
  const std::unique_ptr<TfLiteInterpreterOptions, decltype(&TfLiteInterpreterOptionsDelete)> options(
      TfLiteInterpreterOptionsCreate(), TfLiteInterpreterOptionsDelete);
  if (!delegate || !model) return 1;
  TfLiteInterpreterOptionsAddDelegate(options.get(), delegate.get());
  const std::unique_ptr<TfLiteInterpreter, decltype(&TfLiteInterpreterDelete)> interpreter(
      TfLiteInterpreterCreate(model.get(), options.get()), TfLiteInterpreterDelete);
  if (!interpreter || TfLiteInterpreterAllocateTensors(interpreter.get()) != kTfLiteOk) return 1;

  for (int i = 0; i < TfLiteInterpreterGetInputTensorCount(interpreter.get()); ++i) {
    TfLiteTensor* input = TfLiteInterpreterGetInputTensor(interpreter.get(), i);
    const std::vector<char> zeros(TfLiteTensorByteSize(input));
    if (TfLiteTensorCopyFromBuffer(input, zeros.data(), zeros.size()) != kTfLiteOk) return 1;
  }
  if (TfLiteInterpreterInvoke(interpreter.get()) != kTfLiteOk) return 1;

  const TfLiteTensor* output = TfLiteInterpreterGetOutputTensor(interpreter.get(), 0);
  std::vector<float> values(TfLiteTensorByteSize(output) / sizeof(float));
  if (TfLiteTensorCopyToBuffer(output, values.data(), values.size() * sizeof(float)) != kTfLiteOk) return 1;
  for (const float value : values) std::printf("%.6g\n", value);
  return 0;
}
