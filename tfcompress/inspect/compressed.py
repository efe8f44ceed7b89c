"""How large a file is after general-purpose compression, as for a download."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import zstandard

from tfcompress.progress import bar
from tfcompress.tflite.graph import Content

_LEVEL = 9
_GZIP_FORMAT = 31
_CHUNK = 1 << 20


def gzip_size(content: Content) -> int:
    """Returns the bytes that gzip makes of the content at level 9."""
    compressor = zlib.compressobj(_LEVEL, wbits=_GZIP_FORMAT)
    return _size(content, "gzip", compressor.compress, compressor.flush)


def zstd_size(content: Content) -> int:
    """Returns the bytes that zstd makes of the content at level 9."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj(size=len(content))
    return _size(content, "zstd", compressor.compress, compressor.flush)


def _size(content: Content, what: str, add: Callable[[bytes], bytes], end: Callable[[], bytes]) -> int:
    size = 0
    with bar(what, -(-len(content) // _CHUNK)) as shown:
        for start in range(0, len(content), _CHUNK):
            size += len(add(bytes(content[start : start + _CHUNK])))
            shown.advance()
    return size + len(end())
