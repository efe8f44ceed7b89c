"""The archive of labels and the like that may stand behind a `.tflite`."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib

from tfcompress.errors import UserError, first_line
from tfcompress.tflite.damage import LIBRARY_ERRORS

DAMAGES = (*LIBRARY_ERRORS, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
"""What is raised where an archive, or what it holds, is garbled."""

_LARGEST_ARCHIVE = 1 << 26


def with_files_of(source: bytes, content: bytes) -> bytes:
    """Returns the file with the archive of labels and the like that stands behind the one it was made from.

    Raises:
        UserError: the archive is broken, or too large.
    """
    if not zipfile.is_zipfile(io.BytesIO(source)):
        return content
    target = io.BytesIO()
    target.write(content)
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as archive, zipfile.ZipFile(target, "w") as copy:
            if sum(member.file_size for member in archive.infolist()) > _LARGEST_ARCHIVE:
                raise UserError(f"the files in its metadata have over {_LARGEST_ARCHIVE:,} bytes; remove them")
            for name in archive.namelist():
                copy.writestr(zipfile.ZipInfo(name), archive.read(name))
    except UserError:
        raise
    except DAMAGES as error:
        reason = f"the files in its metadata cannot be read: {first_line(error)}"
        raise UserError(f"{reason}; make or fetch the file again") from error
    return target.getvalue()
