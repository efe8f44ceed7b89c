// Compares the layouts of indices with a second implementation of the tables in docs/format.md. It works bit by bit and
// shares no code with format.cc and pack_matrix.cc.
#include "format.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "pack_matrix.h"

namespace tfcompress {
namespace {

int BitAt(const std::vector<uint8_t>& bytes, size_t bit) { return bytes[bit / 8] >> bit % 8 & 1; }

struct Plane {
  int width, lowest;
};

std::vector<Plane> PlanesOf(int bits) {
  switch (bits) {
    case 2:
      return {{2, 0}};
    case 3:
      return {{2, 0}, {1, 2}};
    case 4:
      return {{4, 0}};
    case 5:
      return {{4, 0}, {1, 4}};
    case 6:
      return {{4, 0}, {2, 4}};
    case 7:
      return {{4, 0}, {2, 4}, {1, 6}};
    default:
      return {{8, 0}};
  }
}

// Returns the bit of a plane at which index j of half h begins, counted from the lowest bit of its first byte.
size_t BitInPlane(int width, size_t h, size_t j) {
  if (width == 8) return 8 * (64 * h + j);
  if (width == 4) return 8 * j + 4 * h;
  if (width == 2) return 8 * (16 * h + j % 16) + 2 * (j / 16);
  return 8 * (8 * h + j / 8) + j % 8;
}

int IndexInMatrix(const std::vector<uint8_t>& bytes, int inputs, int bits, int n, int k) {
  const size_t block = (static_cast<size_t>(n / 16) * ((inputs + 7) / 8) + k / 8) * 16 * bits;
  const size_t half = k % 8 / 4, j = 4 * (n % 16) + k % 4;
  int index = 0;
  size_t plane_byte = block;
  for (const Plane& plane : PlanesOf(bits)) {
    for (int i = 0; i < plane.width; ++i) {
      index |= BitAt(bytes, 8 * plane_byte + BitInPlane(plane.width, half, j) + i) << (plane.lowest + i);
    }
    plane_byte += 16 * plane.width;
  }
  return index;
}

class FormatTest : public testing::TestWithParam<int> {};

TEST_P(FormatTest, PackedMatrixMatchesTheDocumentation) {
  const int bits = GetParam();
  std::mt19937 random(bits);
  for (auto [outputs, inputs] : {std::pair(16, 8), {1, 1}, {17, 9}, {48, 40}, {5, 100}, {100, 5}}) {
    std::vector<uint8_t> indices(static_cast<size_t>(outputs) * inputs);
    for (uint8_t& index : indices) index = static_cast<uint8_t>(random() % (1u << bits));
    std::vector<uint8_t> packed((outputs + 15) / 16 * ((inputs + 7) / 8) * 16 * bits, 0xff);
    ASSERT_EQ(PackedMatrixBytes(outputs, inputs, bits), packed.size());
    PackMatrix(indices.data(), outputs, inputs, bits, packed.data());
    for (int n = 0; n < (outputs + 15) / 16 * 16; ++n) {
      for (int k = 0; k < (inputs + 7) / 8 * 8; ++k) {
        const int wanted = n < outputs && k < inputs ? indices[static_cast<size_t>(n) * inputs + k] : 0;
        ASSERT_EQ(IndexInMatrix(packed, inputs, bits, n, k), wanted) << "output " << n << " input " << k;
      }
    }
  }
}

TEST_P(FormatTest, UnpacksRowsOfATable) {
  const int bits = GetParam();
  std::mt19937 random(200 + bits);
  for (int width : {1, 7, 8, 9, 16, 63, 384}) {
    std::vector<uint8_t> row((width + 7) / 8 * bits), indices(width + 1, 0xee);
    ASSERT_EQ(PackedTableRowBytes(width, bits), row.size());
    for (uint8_t& byte : row) byte = static_cast<uint8_t>(random());
    UnpackTableRow(row.data(), width, bits, indices.data());
    for (int i = 0; i < width; ++i) {
      int wanted = 0;
      size_t plane_bit = 0;
      for (const Plane& plane : PlanesOf(bits)) {
        for (int b = 0; b < plane.width; ++b) {
          wanted |= BitAt(row, plane_bit + i * plane.width + b) << (plane.lowest + b);
        }
        plane_bit += static_cast<size_t>((width + 7) / 8) * 8 * plane.width;
      }
      ASSERT_EQ(indices[i], wanted) << "width " << width << " at " << i;
    }
    EXPECT_EQ(indices[width], 0xee);
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, FormatTest, testing::Range(2, 9));

}  // namespace
}  // namespace tfcompress
