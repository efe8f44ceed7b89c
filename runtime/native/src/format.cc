#include "format.h"

#include <cstring>

namespace tfcompress {

void UnpackTableRow(const uint8_t* row, int width, int bits, uint8_t* indices) {
  memset(indices, 0, static_cast<size_t>(width));
  int lowest = 0;
  for (int plane = 8; plane > 0; plane /= 2) {  // Planes are as wide as the binary digits of `bits`.
    if ((bits & plane) == 0) continue;
    const int in_byte = 8 / plane;
    for (int i = 0; i < width; ++i) {
      const int part = row[i / in_byte] >> i % in_byte * plane & ((1 << plane) - 1);
      indices[i] = static_cast<uint8_t>(indices[i] | part << lowest);
    }
    row += static_cast<size_t>(RoundUp(width, 8) / 8) * plane;
    lowest += plane;
  }
}

}  // namespace tfcompress
