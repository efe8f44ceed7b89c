// What a 64-bit Arm processor and its system can run, beyond what all of them can.
#pragma once

#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace tfcompress {
namespace cpu {

#if defined(__linux__)
// Bits of the kernel's interface to programs; old headers lack the names.
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
