// Which instruction sets an x86-64 processor and its operating system support. Each function checks for everything that
// the flags in CMakeLists.txt let the compiler use.
#pragma once

#include <cpuid.h>

#include <cstdint>

namespace tfcompress {
namespace cpu {

// Registers of CPUID's leaves 1 and 7 (subleaves 0 and 1), and of XGETBV.
struct Features {
  uint32_t ecx1 = 0, ebx7 = 0, ecx7 = 0, eax7_1 = 0;
  uint32_t saved = 0;  // kinds of registers that the system saves for each thread

  Features() {
    uint32_t a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d)) ecx1 = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) ebx7 = b, ecx7 = c;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) eax7_1 = a;
    constexpr uint32_t kHasXgetbv = 1u << 27;
    if (ecx1 & kHasXgetbv) __asm__("xgetbv" : "=a"(saved), "=d"(d) : "c"(0));
  }
};

constexpr uint32_t Bits() { return 0; }
template <class... More>
constexpr uint32_t Bits(int first, More... more) {
  return 1u << first | Bits(more...);
}

inline bool HasAll(uint32_t given, uint32_t wanted) { return (given & wanted) == wanted; }

inline bool HasAvx2() {
  const Features f;
  // FMA, SSE4.1, SSE4.2, POPCNT, AVX, F16C; BMI1, AVX2, BMI2; xmm and ymm registers.
  return HasAll(f.ecx1, Bits(12, 19, 20, 23, 28, 29)) && HasAll(f.ebx7, Bits(3, 5, 8)) && HasAll(f.saved, Bits(1, 2));
}

inline bool HasAvx2Vnni() { return HasAvx2() && HasAll(Features().eax7_1, Bits(4)); }

inline bool HasAvx512Vnni() {
  const Features f;
  // AVX512 F, DQ, CD, BW, VL; VNNI; mask registers and zmm.
  return HasAvx2() && HasAll(f.ebx7, Bits(16, 17, 28, 30, 31)) && HasAll(f.ecx7, Bits(11)) &&
         HasAll(f.saved, Bits(5, 6, 7));
}

inline bool HasAvx512Vbmi() {
  // VBMI, VBMI2, GFNI, VAES, VPCLMULQDQ, BITALG, VPOPCNTDQ: Ice Lake, Zen 4 and later.
  return HasAvx512Vnni() && HasAll(Features().ecx7, Bits(1, 6, 8, 9, 10, 12, 14));
}

}  // namespace cpu
}  // namespace tfcompress
