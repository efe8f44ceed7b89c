// Packing, which outside tests is Python's.
#pragma once

#include <cstdint>

namespace tfcompress {

// indices: outputs x inputs, row by row; tiles: PackedMatrixBytes(...) bytes.
void PackMatrix(const uint8_t* indices, int outputs, int inputs, int bits, uint8_t* tiles);

}  // namespace tfcompress
