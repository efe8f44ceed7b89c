// The packed file's options and index layout: docs/format.md in code. No framework, no instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tfcompress {

static_assert(sizeof(size_t) == 8, "the bytes below, which tensors are checked against, must not overflow");

constexpr uint32_t kFormatVersion = 1;
constexpr int kBlockOutputs = 16;  // of a tile
constexpr int kBlockInputs = 8;

enum class Activation : uint32_t { kNone = 0, kRelu = 1, kGelu = 2, kGeluTanh = 3, kTanh = 4 };
enum class Computing : uint32_t { kFloat32 = 0, kInt8 = 1 };

struct FullyConnectedOptions {
  uint32_t version, inputs, outputs, bits, computing, activation, segments, residual;
};
struct EmbeddingOptions {
  uint32_t version, rows, width, bits;
};
struct AttentionOptions {
  uint32_t version, heads;
  float scale;
  uint32_t computing;
};
struct LayerNormOptions {
  uint32_t version;
  float epsilon;
};

static constexpr int RoundUp(int x, int multiple) { return (x + multiple - 1) / multiple * multiple; }

// Bytes of one tile of 16 outputs x 8 inputs.
static constexpr size_t TileBytes(int bits) { return size_t{16} * bits; }

// Bytes of the tiles of one block of 16 outputs, all inputs.
static constexpr size_t BlockBytes(int inputs, int bits) {
  return static_cast<size_t>(RoundUp(inputs, kBlockInputs) / kBlockInputs) * TileBytes(bits);
}

static constexpr size_t MatrixBytes(int outputs, int inputs, int bits) {
  return static_cast<size_t>(RoundUp(outputs, kBlockOutputs) / kBlockOutputs) * BlockBytes(inputs, bits);
}

// Bytes of one row of a token table.
static constexpr size_t RowBytes(int width, int bits) { return static_cast<size_t>(RoundUp(width, 8) / 8) * bits; }

// One row of a token table to `width` indices.
void UnpackRow(const uint8_t* row, int width, int bits, uint8_t* indices);

}  // namespace tfcompress
