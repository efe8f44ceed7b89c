// The tables of kernels of all instruction sets. Each build has those of its architecture.
#pragma once

#include "../kernels.h"

namespace tfcompress {

extern const Kernels kKernels_avx512_vbmi;
extern const Kernels kKernels_avx512_vnni;
extern const Kernels kKernels_avx2_vnni;
extern const Kernels kKernels_avx2;
extern const Kernels kKernels_portable;

extern const Kernels kKernels_i8mm;
extern const Kernels kKernels_dotprod;
extern const Kernels kKernels_neon;

}  // namespace tfcompress
