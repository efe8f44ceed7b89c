#include "instruction_sets.h"

#include "kernels/tables.h"

#if defined(__x86_64__)
#include "kernels/cpu_x86.h"
#elif defined(__aarch64__)
#include "kernels/cpu_arm.h"
#endif

namespace tfcompress {

std::vector<const Kernels*> UsableKernels() {
  std::vector<const Kernels*> usable;
#if defined(__x86_64__)
  if (cpu::HasAvx512Vbmi()) usable.push_back(&kKernels_avx512_vbmi);
  if (cpu::HasAvx512Vnni()) usable.push_back(&kKernels_avx512_vnni);
  if (cpu::HasAvx2Vnni()) usable.push_back(&kKernels_avx2_vnni);
  if (cpu::HasAvx2()) usable.push_back(&kKernels_avx2);
#endif
#if defined(__aarch64__)
  if (cpu::HasDotProduct() && cpu::HasMatrixProduct()) usable.push_back(&kKernels_i8mm);
  if (cpu::HasDotProduct()) usable.push_back(&kKernels_dotprod);
  usable.push_back(&kKernels_neon);
#else
  usable.push_back(&kKernels_portable);
#endif
  return usable;
}

const Kernels* ChooseKernels(const char* name, std::string* why) {
  const std::vector<const Kernels*> usable = UsableKernels();
  if (name == nullptr || *name == '\0') return usable.front();
  std::string names;
  for (const Kernels* kernels : usable) {
    if (name == std::string(kernels->name)) return kernels;
    names += names.empty() ? kernels->name : std::string(", ") + kernels->name;
  }
  *why = std::string(kInstructionsVariable) + " is '" + name + "'; this processor and this library support: " + names;
  return nullptr;
}

}  // namespace tfcompress
