"""How a packed file stores indices of 2 to 8 bits: in packed blocks for dense layers, and by rows for embedding tables.

A packed block is 16 outputs x 8 inputs. The bits of its indices are split into planes of 8, 4, 2 or 1 bits, one after
the other. docs/format.md describes both layouts. All arrays here are uint8.
"""

from __future__ import annotations

import numpy as np

from tfcompress.tflite.tensor import Bytes

MIN_BITS, MAX_BITS = 2, 8
_BLOCK_OUTPUTS, _BLOCK_INPUTS = 16, 8
_ROWS_AT_ONCE = 4096  # bounds the memory that packing a table takes


def bits_for(centroids: int) -> int:
    """Returns how many bits an index into a codebook with this many centroids takes."""
    return max(MIN_BITS, (centroids - 1).bit_length())


def matrix_bytes(outputs: int, inputs: int, bits: int) -> int:
    """Returns how many bytes the packed indices of a dense layer take."""
    return -(-outputs // _BLOCK_OUTPUTS) * -(-inputs // _BLOCK_INPUTS) * 16 * bits


def pack_matrix(indices: Bytes, bits: int) -> Bytes:
    """Packs the indices of a dense layer, `(outputs, inputs)`, into an array of `matrix_bytes` bytes."""
    outputs, inputs = indices.shape
    filled = np.pad(indices, ((0, -outputs % _BLOCK_OUTPUTS), (0, -inputs % _BLOCK_INPUTS)))
    split = filled.reshape(
        filled.shape[0] // _BLOCK_OUTPUTS, _BLOCK_OUTPUTS, filled.shape[1] // _BLOCK_INPUTS, 2, _BLOCK_INPUTS // 2
    )
    halves = split.transpose(0, 2, 3, 1, 4).reshape(-1, 2, 64)
    return np.concatenate([_pack_blocks(field, width) for field, width in _split_planes(halves, bits)], axis=1).ravel()


def unpack_matrix(packed: Bytes, outputs: int, inputs: int, bits: int) -> Bytes:
    """Returns the indices of a dense layer, `(outputs, inputs)`, from an array of `matrix_bytes` bytes."""
    blocks = packed.reshape(-1, 16 * bits)
    halves = np.zeros((len(blocks), 2, 64), np.uint8)
    begin = 0
    for shift, width in _planes(bits):
        halves |= _unpack_blocks(blocks[:, begin : begin + 16 * width], width) << np.uint8(shift)
        begin += 16 * width
    split = halves.reshape(
        -(-outputs // _BLOCK_OUTPUTS), -(-inputs // _BLOCK_INPUTS), 2, _BLOCK_OUTPUTS, _BLOCK_INPUTS // 2
    )
    filled = split.transpose(0, 3, 1, 2, 4).reshape(split.shape[0] * _BLOCK_OUTPUTS, split.shape[1] * _BLOCK_INPUTS)
    return np.ascontiguousarray(filled[:outputs, :inputs])


def row_bytes(width: int, bits: int) -> int:
    """Returns how many bytes the packed indices of a row of a table take."""
    return -(-width // 8) * bits


def pack_rows(indices: Bytes, bits: int) -> Bytes:
    """Packs the indices of a table, `(rows, width)`, into an array of `rows * row_bytes` bytes."""
    chunks = [indices[start : start + _ROWS_AT_ONCE] for start in range(0, len(indices), _ROWS_AT_ONCE)]
    return np.concatenate([_pack_some_rows(chunk, bits) for chunk in chunks]).ravel()


def unpack_rows(packed: Bytes, rows: int, width: int, bits: int) -> Bytes:
    """Returns the indices of a table, `(rows, width)`, from an array of `rows * row_bytes` bytes."""
    stored = packed.reshape(rows, row_bytes(width, bits))
    found = np.empty((rows, width), np.uint8)
    for start in range(0, rows, _ROWS_AT_ONCE):
        found[start : start + _ROWS_AT_ONCE] = _unpack_some_rows(stored[start : start + _ROWS_AT_ONCE], width, bits)
    return found


def _planes(bits: int) -> list[tuple[int, int]]:
    """Returns the first bit and the number of bits of each plane: the powers of two in `bits`, the largest first."""
    planes, shift = [], 0
    for width in (8, 4, 2, 1):
        if bits & width:
            planes.append((shift, width))
            shift += width
    return planes


def _split_planes(indices: Bytes, bits: int) -> list[tuple[Bytes, int]]:
    """Returns the part of each index that belongs to a plane, and the number of bits of the plane."""
    return [((indices >> np.uint8(shift)) & np.uint8(2**width - 1), width) for shift, width in _planes(bits)]


def _pack_blocks(halves: Bytes, width: int) -> Bytes:
    """Packs a plane of `width` bits: `(blocks, 2, 64)` numbers, in block halves, to `(blocks, 16 * width)` bytes."""
    if width == 8:
        return halves.reshape(-1, 128)
    if width == 4:
        return halves[:, 0] | halves[:, 1] << np.uint8(4)
    if width == 2:
        quarters: Bytes = halves.reshape(-1, 2, 4, 16) << np.arange(0, 8, 2, dtype=np.uint8)[:, None]
        joined: Bytes = np.bitwise_or.reduce(quarters, axis=2)
        return joined.reshape(-1, 32)
    bits: Bytes = np.packbits(halves.reshape(-1, 128), axis=1, bitorder="little")
    return bits


def _unpack_blocks(plane: Bytes, width: int) -> Bytes:
    if width == 8:
        return plane.reshape(-1, 2, 64)
    if width == 4:
        return np.stack([plane & np.uint8(15), plane >> np.uint8(4)], axis=1)
    if width == 2:
        quarters = plane.reshape(-1, 2, 1, 16) >> np.arange(0, 8, 2, dtype=np.uint8)[:, None]
        return (quarters & np.uint8(3)).reshape(-1, 2, 64)
    bits: Bytes = np.unpackbits(plane, axis=1, bitorder="little")
    return bits.reshape(-1, 2, 64)


def _pack_some_rows(indices: Bytes, bits: int) -> Bytes:
    filled = np.pad(indices, ((0, 0), (0, -indices.shape[1] % 8)))
    planes = []
    for field, width in _split_planes(filled, bits):
        parts_of_byte = field.reshape(len(field), -1, 8 // width) << np.arange(0, 8, width, dtype=np.uint8)
        planes.append(np.bitwise_or.reduce(parts_of_byte, axis=2))
    return np.concatenate(planes, axis=1)


def _unpack_some_rows(stored: Bytes, width: int, bits: int) -> Bytes:
    found = np.zeros((len(stored), -(-width // 8) * 8), np.uint8)
    begin = 0
    for shift, plane in _planes(bits):
        size = found.shape[1] // 8 * plane
        parts_of_byte = stored[:, begin : begin + size, None] >> np.arange(0, 8, plane, dtype=np.uint8)
        found |= (parts_of_byte & np.uint8(2**plane - 1)).reshape(found.shape) << np.uint8(shift)
        begin += size
    return np.ascontiguousarray(found[:, :width])
