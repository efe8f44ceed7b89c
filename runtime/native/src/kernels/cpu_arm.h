// Which optional instructions a 64-bit Arm processor and its operating system support.
#pragma once

#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace tfcompress {
namespace cpu {

#if defined(__linux__)
// Bits that Linux reports to programs; old headers lack their names.
inline bool HasDotProduct() { return (getauxval(AT_HWCAP) & 1ul << 20) != 0; }      // HWCAP_ASIMDDP
inline bool HasMatrixProduct() { return (getauxval(AT_HWCAP2) & 1ul << 13) != 0; }  // HWCAP2_I8MM
#elif defined(__APPLE__)
inline bool Has(const char* feature) {
  int has = 0;
  size_t bytes = sizeof(has);
  return sysctlbyname(feature, &has, &bytes, nullptr, 0) == 0 && has != 0;
}
inline bool HasDotProduct() { return Has("hw.optional.arm.FEAT_DotProd"); }
inline bool HasMatrixProduct() { return Has("hw.optional.arm.FEAT_I8MM"); }
#else
inline bool HasDotProduct() { return false; }
inline bool HasMatrixProduct() { return false; }
#endif

}  // namespace cpu
}  // namespace tfcompress
