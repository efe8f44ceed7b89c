#include "pack_matrix.h"

#include <cstring>

#include "format.h"

namespace tfcompress {
namespace {

// Where index `i` of half `half` lies in a plane of a packed block.
struct Place {
  int byte, shift;
};

Place PlaceInBlock(int plane, int half, int i) {
  switch (plane) {
    case 8:
      return {64 * half + i, 0};
    case 4:
      return {i, 4 * half};
    case 2:
      return {16 * half + i % 16, 2 * (i / 16)};
    default:
      return {8 * half + i / 8, i % 8};
  }
}

}  // namespace

void PackMatrix(const uint8_t* indices, int outputs, int inputs, int bits, uint8_t* blocks) {
  memset(blocks, 0, PackedMatrixBytes(outputs, inputs, bits));
  for (int n = 0; n < outputs; ++n) {
    for (int k = 0; k < inputs; ++k, ++indices) {
      uint8_t* block = blocks + static_cast<size_t>(n / kPackedBlockOutputs) * PackedBlockRowBytes(inputs, bits) +
                       static_cast<size_t>(k / kPackedBlockInputs) * PackedBlockBytes(bits);
      const int half = k % kPackedBlockInputs / 4, i = n % kPackedBlockOutputs * 4 + k % 4;
      int left = *indices;
      for (int plane = 8; plane > 0; plane /= 2) {
        if ((bits & plane) == 0) continue;
        const Place place = PlaceInBlock(plane, half, i);
        const int part = left & ((1 << plane) - 1);
        block[place.byte] = static_cast<uint8_t>(block[place.byte] | part << place.shift);
        block += 16 * plane;
        left >>= plane;
      }
    }
  }
}

}  // namespace tfcompress
