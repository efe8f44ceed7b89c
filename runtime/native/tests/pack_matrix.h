// Packs indices. Outside of tests, Python does this.
#pragma once

#include <cstdint>

namespace tfcompress {

// `indices` is outputs x inputs, row by row; `blocks` has PackedMatrixBytes(outputs, inputs, bits) bytes.
void PackMatrix(const uint8_t* indices, int outputs, int inputs, int bits, uint8_t* blocks);

}  // namespace tfcompress
