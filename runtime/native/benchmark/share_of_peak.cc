// Prints what share of the processor's peak each kernel reaches, for shapes of transformers.
//
//   share_of_peak [INSTRUCTION SET]
//
// The peak is measured: a loop of the instructions that do the kernel's multiplications and additions, on registers
// only. It takes turns with the kernel, for a second. Of both, the time that a fifth of the runs do not exceed counts,
// so that what else the machine does matters little. One thread.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

#include "instruction_sets.h"
#include "kernels_for_test.h"

namespace tfcompress {
namespace {

#if defined(__x86_64__)
// A loop of twelve independent sums, which are as many as the kernels of AVX2 have.
#define TFCOMPRESS_LOOP(sum, v)                                                                                      \
  asm volatile("vzeroall\n 1:" sum(v, "0") sum(v, "1") sum(v, "2") sum(v, "3") sum(v, "4") sum(v, "5") sum(v, "6")   \
                   sum(v, "7") sum(v, "8") sum(v, "9") sum(v, "10") sum(v, "11") "dec %0\n jnz 1b\n"                 \
               : "+r"(rounds)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                 "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
#define TFCOMPRESS_FMA(v, n) "vfmadd231ps %%" v "13, %%" v "14, %%" v n "\n"
#define TFCOMPRESS_PAIRS(v, n) "vpmaddwd %%" v "13, %%" v "14, %%" v "12\n vpaddd %%" v "12, %%" v n ", %%" v n "\n"
#define TFCOMPRESS_QUADS(v, n) "vpdpbusd %%" v "13, %%" v "14, %%" v n "\n"

void FmaYmm(long rounds) { TFCOMPRESS_LOOP(TFCOMPRESS_FMA, "ymm"); }
void FmaZmm(long rounds) { TFCOMPRESS_LOOP(TFCOMPRESS_FMA, "zmm"); }
void PairsYmm(long rounds) { TFCOMPRESS_LOOP(TFCOMPRESS_PAIRS, "ymm"); }
void QuadsZmm(long rounds) { TFCOMPRESS_LOOP(TFCOMPRESS_QUADS, "zmm"); }
#endif

struct Peak {
  void (*loop)(long rounds);  // null if there is none for the instruction set
  int products;               // of one instruction
};

Peak PeakOf([[maybe_unused]] const std::string& name, [[maybe_unused]] bool int8) {
#if defined(__x86_64__)
  if (name == "avx2") return int8 ? Peak{PairsYmm, 16} : Peak{FmaYmm, 8};
  if (name.rfind("avx512", 0) == 0) return int8 ? Peak{QuadsZmm, 64} : Peak{FmaZmm, 16};
#endif
  return {nullptr, 0};
}

template <class Run>
double Seconds(const Run& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double OfFastest(std::vector<double> seconds) {
  const auto at = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 5);
  std::nth_element(seconds.begin(), at, seconds.end());
  return *at;
}

// Prints the share of `peak` that `run`, which does so many products, reaches.
template <class Run>
void Print(const std::string& label, double products, const Peak& peak, const Run& run) {
  constexpr long kRounds = 20000;
  std::vector<double> loops, kernels;
  run();
  for (double left = 1; left > 0; left -= loops.back() + kernels.back()) {
    loops.push_back(Seconds([&] { peak.loop(kRounds); }));
    kernels.push_back(Seconds(run));
  }
  const double most = 12.0 * kRounds * peak.products / OfFastest(loops);
  printf("%-38s %3.0f %%\n", label.c_str(), 100 * products / OfFastest(kernels) / most);
}

void PrintDense(const Kernels& kernels, const Peak& peak, bool int8, int rows, int inputs, int outputs,
                Activation activation, Random* random) {
  const TestLayer layer(inputs, outputs, 6, activation, random);
  const DenseWeights weights = int8 ? layer.weights : layer.FloatWeights();
  const Aligned<float> x(random->Normals(static_cast<size_t>(rows) * inputs)), y(static_cast<size_t>(rows) * outputs);
  const Aligned<uint8_t> q(static_cast<size_t>(rows) * QuantizedStride(inputs));
  const Aligned<RowScale> scales(static_cast<size_t>(rows));
  const Aligned<char> scratch((int8 ? kernels.dense_int8_scratch : kernels.dense_scratch)(weights, rows));
  const auto run = [&] {
    if (int8) kernels.quantize_rows(x.get(), rows, inputs, q.get(), scales.get());
    (int8 ? kernels.dense_int8 : kernels.dense)(
        {weights, x.get(), q.get(), scales.get(), rows, 0, outputs, nullptr, y.get(), scratch.get(), {nullptr, 0}});
  };
  const std::string label = std::string(int8 ? "int8, " : "float32, ") +
                            (rows == 1 ? "one row" : std::to_string(rows) + " rows") + ", " + std::to_string(inputs) +
                            " to " + std::to_string(outputs) + (activation == Activation::kGelu ? ", GELU" : "");
  Print(label, static_cast<double>(rows) * inputs * outputs, peak, run);
}

void PrintAttention(const Kernels& kernels, const Peak& peak, bool int8, Random* random) {
  constexpr int kTokens = 197, kWidth = 64;
  const AttentionShape shape = {kTokens, 1, kWidth, kWidth, kWidth, kWidth, kWidth, 0.125f};
  const Aligned<float> x(random->Normals(size_t{3} * kTokens * kWidth)), out(size_t{kTokens} * kWidth);
  const size_t next = size_t{kTokens} * kWidth;
  const AttentionData data = {x.get(), x.get() + next, x.get() + 2 * next, nullptr, out.get()};
  const Aligned<char> scratch((int8 ? kernels.attention_int8_scratch : kernels.attention_scratch)(shape));
  const auto run = [&] {
    (int8 ? kernels.attention_int8 : kernels.attention)(shape, data, 0, 0, kTokens, scratch.get());
  };
  Print(std::string(int8 ? "int8, " : "float32, ") + "attention, 197 tokens of 64", 2.0 * kTokens * kTokens * kWidth,
        peak, run);
}

int PrintAll(const char* name) {
  std::string why;
  const Kernels* kernels = ChooseKernels(name, &why);
  if (kernels == nullptr || PeakOf(kernels->name, false).loop == nullptr) {
    fprintf(stderr, "%s\n", kernels == nullptr ? why.c_str() : "the peak is known for avx2 and avx512_... only");
    return 1;
  }
  printf("%s, 64 centroids, one thread\n", kernels->name);
  Random random(1);
  for (bool int8 : {false, true}) {
    const Peak peak = PeakOf(kernels->name, int8);
    PrintDense(*kernels, peak, int8, 197, 192, 192, Activation::kNone, &random);
    PrintDense(*kernels, peak, int8, 197, 192, 768, Activation::kNone, &random);
    PrintDense(*kernels, peak, int8, 197, 192, 768, Activation::kGelu, &random);
    PrintDense(*kernels, peak, int8, 197, 768, 192, Activation::kNone, &random);
    PrintDense(*kernels, peak, int8, 128, 384, 1536, Activation::kNone, &random);
    PrintDense(*kernels, peak, int8, 197, 768, 3072, Activation::kNone, &random);
    PrintDense(*kernels, peak, int8, 197, 3072, 768, Activation::kNone, &random);
    PrintDense(*kernels, peak, int8, 1, 768, 3072, Activation::kNone, &random);
    PrintAttention(*kernels, peak, int8, &random);
  }
  return 0;
}

}  // namespace
}  // namespace tfcompress

int main(int count, char** arguments) { return tfcompress::PrintAll(count > 1 ? arguments[1] : nullptr); }
