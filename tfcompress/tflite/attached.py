"""The zip archive of labels and similar files that may follow the model in a `.tflite` file."""

from __future__ import annotations

import io
import lzma
import mmap
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

from tfcompress.errors import UserError, first_line
from tfcompress.tflite.damage import DAMAGE_ERRORS
from tfcompress.tflite.graph import Content

ARCHIVE_ERRORS = (*DAMAGE_ERRORS, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
"""What reading an archive, or a file in it, raises if it is damaged."""

_MAX_BYTES = 1 << 26


def with_attached_files(source: Content, content: bytes) -> bytes:
    """Returns `content` followed by the archive that follows the model in `source`, which it was made from.

    Raises:
        UserError: the archive is damaged, or its files have more than 64 MiB.
    """
    files = _attached(source)
    if files is None:
        return content
    target = io.BytesIO()
    target.write(content)
    _append(files, target)
    return target.getvalue()


def attach_files(source: Content, path: Path) -> None:
    """Does the same as `with_attached_files` to a file, without reading it."""
    files = _attached(source)
    if files is not None:
        with path.open("r+b") as target:
            target.seek(0, os.SEEK_END)
            _append(files, target)


def _attached(source: Content) -> dict[str, bytes] | None:
    """Returns the files of the archive that follows a model by name; None if none follows."""
    # A mapped file is a stream itself, and BytesIO would copy it.
    stream = cast(IO[bytes], source) if isinstance(source, mmap.mmap) else io.BytesIO(source)
    if not zipfile.is_zipfile(stream):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > _MAX_BYTES:
                raise UserError(
                    f"the attached files have {size:,} bytes; at most {_MAX_BYTES:,} are accepted, remove some of them"
                )
            return {name: archive.read(name) for name in archive.namelist()}
    except UserError:
        raise
    except ARCHIVE_ERRORS as error:
        reason = f"the attached files cannot be read: {first_line(error)}"
        raise UserError(f"{reason}; make the .tflite file again or fetch another copy") from error


def _append(files: Mapping[str, bytes], target: IO[bytes]) -> None:
    with zipfile.ZipFile(target, "w") as copy:
        for name, content in files.items():
            copy.writestr(zipfile.ZipInfo(name), content)
