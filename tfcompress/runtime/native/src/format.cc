#include "format.h"

#include <cstring>

namespace tfcompress {
namespace {

// Bits [lowest, lowest + width) of every index.
struct Plane {
  int width, lowest;
};

// The planes of an index of `bits` bits in their order: its binary digits. Returns how many.
int PlanesOf(int bits, Plane planes[4]) {
  int count = 0, lowest = 0;
  for (int width = 8; width > 0; width /= 2) {
    if ((bits & width) == 0) continue;
    planes[count++] = {width, lowest};
    lowest += width;
  }
  return count;
}

// Where index `i` of half `half` lies in a tile's plane.
struct Place {
  int byte, shift;
};

Place PlaceInTile(int width, int half, int i) {
  switch (width) {
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

constexpr int Ones(int width) { return (1 << width) - 1; }

}  // namespace

void UnpackTile(const uint8_t* tile, int bits, uint8_t* indices) {
  Plane planes[4];
  const int count = PlanesOf(bits, planes);
  memset(indices, 0, kBlockOutputs * kBlockInputs);
  for (int p = 0; p < count; ++p) {
    const Plane plane = planes[p];
    for (int j = 0; j < kBlockOutputs * kBlockInputs; ++j) {
      const Place place = PlaceInTile(plane.width, j / 64, j % 64);
      const int part = tile[place.byte] >> place.shift & Ones(plane.width);
      indices[j] = static_cast<uint8_t>(indices[j] | part << plane.lowest);
    }
    tile += 16 * plane.width;
  }
}

void PackMatrix(const uint8_t* indices, int outputs, int inputs, int bits, uint8_t* tiles) {
  Plane planes[4];
  const int count = PlanesOf(bits, planes);
  memset(tiles, 0, MatrixBytes(outputs, inputs, bits));
  for (int n = 0; n < outputs; ++n) {
    for (int k = 0; k < inputs; ++k, ++indices) {
      uint8_t* tile = tiles + static_cast<size_t>(n / kBlockOutputs) * BlockBytes(inputs, bits) +
                      static_cast<size_t>(k / kBlockInputs) * TileBytes(bits);
      const int half = k % kBlockInputs / 4, i = n % kBlockOutputs * 4 + k % 4;
      for (int p = 0; p < count; ++p) {
        const Plane plane = planes[p];
        const Place place = PlaceInTile(plane.width, half, i);
        const int part = *indices >> plane.lowest & Ones(plane.width);
        tile[place.byte] = static_cast<uint8_t>(tile[place.byte] | part << place.shift);
        tile += 16 * plane.width;
      }
    }
  }
}

void UnpackRow(const uint8_t* row, int width, int bits, uint8_t* indices) {
  Plane planes[4];
  const int count = PlanesOf(bits, planes);
  memset(indices, 0, static_cast<size_t>(width));
  for (int p = 0; p < count; ++p) {
    const Plane plane = planes[p];
    const int in_byte = 8 / plane.width;
    for (int i = 0; i < width; ++i) {
      const int part = row[i / in_byte] >> i % in_byte * plane.width & Ones(plane.width);
      indices[i] = static_cast<uint8_t>(indices[i] | part << plane.lowest);
    }
    row += static_cast<size_t>(RoundUp(width, 8) / 8) * plane.width;
  }
}

}  // namespace tfcompress
