// Which instruction sets this library has kernels for, which the processor has, and which are taken.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace tfcompress {

// TFCOMPRESS_INSTRUCTIONS names one of them; it is refused if this processor or this build lacks it.
constexpr char kInstructionsVariable[] = "TFCOMPRESS_INSTRUCTIONS";

// The usable ones, the best first; the last runs on every processor of its kind: "portable", or "neon" on Arm.
std::vector<const Kernels*> UsableKernels();

// The best, or the named one; null, with a reason, if that is not usable. `name` may be null or empty.
const Kernels* ChooseKernels(const char* name, std::string* why);

}  // namespace tfcompress
