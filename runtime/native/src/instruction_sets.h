// Chooses the kernels of an instruction set that both this library and the processor have.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace tfcompress {

// The environment variable that names the instruction set to use.
constexpr char kInstructionsVariable[] = "TFCOMPRESS_INSTRUCTIONS";

// Returns the kernels that this processor supports, the best first. The last run on all processors of the
// architecture: "portable", or "neon" on Arm.
std::vector<const Kernels*> UsableKernels();

// Returns the best kernels, or the named ones if `name` is neither null nor empty. Returns null, with a reason, if
// those are not supported.
const Kernels* ChooseKernels(const char* name, std::string* why);

}  // namespace tfcompress
