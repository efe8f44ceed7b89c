"""The bits of a packed file: indices of 2 to 8 bits in tiles, for dense layers, and in rows, for token tables.

docs/format.md describes them. All arrays of indices are uint8.
"""

from __future__ import annotations

import numpy as np

from tfcompress.tflite.tensor import Bytes

FEWEST_BITS, MOST_BITS = 2, 8
_OUTPUTS, _INPUTS = 16, 8  # of a tile
_ROWS = 4096  # of a table that are treated at once


def bits_for(centroids: int) -> int:
    """Returns how many bits an index of so many centroids takes."""
    return max(FEWEST_BITS, (centroids - 1).bit_length())


def matrix_bytes(outputs: int, inputs: int, bits: int) -> int:
    """Returns the size of a dense layer's indices."""
    return -(-outputs // _OUTPUTS) * -(-inputs // _INPUTS) * 16 * bits


def pack_matrix(indices: Bytes, bits: int) -> Bytes:
    """Packs the indices of a dense layer `(outputs, inputs)` to `(matrix_bytes,)`."""
    outputs, inputs = indices.shape
    filled = np.pad(indices, ((0, -outputs % _OUTPUTS), (0, -inputs % _INPUTS)))
    split = filled.reshape(filled.shape[0] // _OUTPUTS, _OUTPUTS, filled.shape[1] // _INPUTS, 2, _INPUTS // 2)
    halves = split.transpose(0, 2, 3, 1, 4).reshape(-1, 2, 64)
    return np.concatenate([_pack_tiles(field, width) for field, width in _fields(halves, bits)], axis=1).ravel()


def unpack_matrix(packed: Bytes, outputs: int, inputs: int, bits: int) -> Bytes:
    """Returns the indices `(outputs, inputs)` of a dense layer; `packed` has `matrix_bytes` of them."""
    tiles = packed.reshape(-1, 16 * bits)
    halves = np.zeros((len(tiles), 2, 64), np.uint8)
    begin = 0
    for shift, width in _planes(bits):
        halves |= _unpack_tiles(tiles[:, begin : begin + 16 * width], width) << np.uint8(shift)
        begin += 16 * width
    split = halves.reshape(-(-outputs // _OUTPUTS), -(-inputs // _INPUTS), 2, _OUTPUTS, _INPUTS // 2)
    filled = split.transpose(0, 3, 1, 2, 4).reshape(split.shape[0] * _OUTPUTS, split.shape[1] * _INPUTS)
    return np.ascontiguousarray(filled[:outputs, :inputs])


def row_bytes(width: int, bits: int) -> int:
    """Returns the size of a table's row."""
    return -(-width // 8) * bits


def pack_rows(indices: Bytes, bits: int) -> Bytes:
    """Packs the indices of a table `(rows, width)` to `(rows * row_bytes,)`."""
    chunks = [indices[start : start + _ROWS] for start in range(0, len(indices), _ROWS)]
    return np.concatenate([_pack_some_rows(chunk, bits) for chunk in chunks]).ravel()


def unpack_rows(packed: Bytes, rows: int, width: int, bits: int) -> Bytes:
    """Returns the indices `(rows, width)` of a table; `packed` has `rows * row_bytes` bytes."""
    stored = packed.reshape(rows, row_bytes(width, bits))
    found = np.empty((rows, width), np.uint8)
    for start in range(0, rows, _ROWS):
        found[start : start + _ROWS] = _unpack_some_rows(stored[start : start + _ROWS], width, bits)
    return found


def _planes(bits: int) -> list[tuple[int, int]]:
    """Returns first bit and number of bits of each plane: the binary digits of `bits`, the largest first."""
    planes, shift = [], 0
    for width in (8, 4, 2, 1):
        if bits & width:
            planes.append((shift, width))
            shift += width
    return planes


def _fields(indices: Bytes, bits: int) -> list[tuple[Bytes, int]]:
    return [((indices >> np.uint8(shift)) & np.uint8(2**width - 1), width) for shift, width in _planes(bits)]


def _pack_tiles(halves: Bytes, width: int) -> Bytes:
    """Packs `(tiles, 2, 64)` numbers of one plane to `(tiles, 16 * width)` bytes."""
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


def _unpack_tiles(plane: Bytes, width: int) -> Bytes:
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
    for field, width in _fields(filled, bits):
        in_a_byte = field.reshape(len(field), -1, 8 // width) << np.arange(0, 8, width, dtype=np.uint8)
        planes.append(np.bitwise_or.reduce(in_a_byte, axis=2))
    return np.concatenate(planes, axis=1)


def _unpack_some_rows(stored: Bytes, width: int, bits: int) -> Bytes:
    found = np.zeros((len(stored), -(-width // 8) * 8), np.uint8)
    begin = 0
    for shift, plane in _planes(bits):
        size = found.shape[1] // 8 * plane
        in_a_byte = stored[:, begin : begin + size, None] >> np.arange(0, 8, plane, dtype=np.uint8)
        found |= (in_a_byte & np.uint8(2**plane - 1)).reshape(found.shape) << np.uint8(shift)
        begin += size
    return np.ascontiguousarray(found[:, :width])
