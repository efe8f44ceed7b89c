// The packed file's options and the layout of its indices: docs/format.md in code. Knows no framework and no
// instruction set.
//
// Weights are indices of `bits` bits into a codebook. The indices of a dense layer are stored in packed blocks of 16
// outputs x 8 inputs, which follow one another over the inputs first:
//
//                     inputs 0-7      8-15     16-23     ...
//                    +---------+---------+---------+
//     outputs 0-15   | block 0 | block 1 | block 2 | ...   a row of packed blocks: PackedBlockRowBytes
//                    +---------+---------+---------+
//     outputs 16-31  | block n | ...                       begins right after the row above
//                    +---------+
//
// Index 0 fills up the last blocks of both directions. A packed block is cut into planes: one for each binary digit
// of `bits`, the widest first. A plane of p bits has p bits of each of the block's 128 indices. The first plane has
// the lowest bits of the indices, and each following one continues where the one before stops:
//
//     bits = 7     | 4-bit plane: 64 bytes       | 2-bit: 32   | 1-bit: 16 |     PackedBlockBytes = 16 * 7 = 112
//     index bits     3 2 1 0                       5 4           6
//
// Inside a plane, the indices of inputs 0-3 (half 0) are apart from those of inputs 4-7 (half 1). In a half, four
// inputs of an output lie side by side, as 8-bit dot products take them: output n and input k are number
// j = 4 * n + k % 4, from 0 to 63. This is the bit layout of each plane, the highest bit of a byte at the left:
//
//     8 bits, 128 bytes, byte 64 * h + j:      | index j of half h                               |
//     4 bits,  64 bytes, byte j:               | index j of half 1      | index j of half 0      |
//     2 bits,  32 bytes, byte 16 * h + i:      | j = 48 + i | j = 32 + i | j = 16 + i | j = i    |   of half h, i < 16
//     1 bit,   16 bytes, byte 8 * h + i:       | j = 8i+7 | j = 8i+6 |     ...       | j = 8i    |   of half h, i < 8
#pragma once

#include <cstddef>
#include <cstdint>

namespace tfcompress {

static_assert(sizeof(size_t) == 8, "the bytes below, which tensors are checked against, must not overflow");

constexpr uint32_t kFormatVersion = 2;  // Options of version 1, which can be read too, lack the last word: the flags.
constexpr int kPackedBlockOutputs = 16;
constexpr int kPackedBlockInputs = 8;
constexpr int kLeastBits = 2, kMostBits = 8;  // of an index

enum class Activation : uint32_t { kNone, kRelu, kGelu, kGeluTanh, kTanh };
enum class Computing : uint32_t { kFloat32, kInt8 };
enum class Residual : uint32_t { kNone, kAdded };
enum class Flags : uint32_t { kNone, kScales };  // kScales: a scale per output of a dense layer, or per row of a table

// The constants of a segment of a dense operator, in the order of its inputs. An embedding has the first three and, as
// its fourth, the original centroids.
enum ConstantInput { kIndices, kCodebook, kScale, kSums, kBias, kOriginal, kDenseConstants };
constexpr int kEmbeddingConstants = 4;

struct FullyConnectedOptions {
  uint32_t version, inputs, outputs, bits;
  Computing computing;
  Activation activation;
  uint32_t segments;
  Residual residual;
  Flags flags;
};
struct EmbeddingOptions {
  uint32_t version, rows, width, bits;
  Flags flags;
};
struct AttentionOptions {
  uint32_t version, heads;
  float scale;
  Computing computing;
  Flags flags;
};
struct LayerNormOptions {
  uint32_t version;
  float epsilon;
  Flags flags;
};

static constexpr int RoundUp(int x, int multiple) { return (x + multiple - 1) / multiple * multiple; }

static constexpr size_t PackedBlockBytes(int bits) {
  return static_cast<size_t>(kPackedBlockOutputs * kPackedBlockInputs / 8) * bits;
}

// Bytes of a row of packed blocks: 16 outputs and all inputs.
static constexpr size_t PackedBlockRowBytes(int inputs, int bits) {
  return static_cast<size_t>(RoundUp(inputs, kPackedBlockInputs) / kPackedBlockInputs) * PackedBlockBytes(bits);
}

static constexpr size_t PackedMatrixBytes(int outputs, int inputs, int bits) {
  return static_cast<size_t>(RoundUp(outputs, kPackedBlockOutputs) / kPackedBlockOutputs) *
         PackedBlockRowBytes(inputs, bits);
}

// Bytes of one row of an embedding's table. A row has the same planes as a packed block; in a plane of p bits, index i
// has bits i * p to i * p + p - 1, counted from the lowest bit of the plane's first byte.
static constexpr size_t PackedTableRowBytes(int width, int bits) {
  return static_cast<size_t>(RoundUp(width, 8) / 8) * bits;
}

// Unpacks one row of an embedding's table to `width` indices.
void UnpackTableRow(const uint8_t* row, int width, int bits, uint8_t* indices);

}  // namespace tfcompress
