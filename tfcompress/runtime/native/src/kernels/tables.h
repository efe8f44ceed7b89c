// The tables of all instruction sets that may have been compiled.
#pragma once

#include "../kernels.h"

namespace tfcompress {

extern const Kernels kKernels_avx512_vbmi;
extern const Kernels kKernels_avx512_vnni;
extern const Kernels kKernels_avx2_vnni;
extern const Kernels kKernels_avx2;
extern const Kernels kKernels_portable;

}  // namespace tfcompress
