import io
import mmap
import zipfile

import pytest

from tfcompress.errors import UserError
from tfcompress.tflite.attached import attach_files, with_attached_files


def archive(compression: int) -> bytes:
    content = io.BytesIO(b"model")
    with zipfile.ZipFile(content, "a", compression) as files:
        files.writestr("labels.txt", "".join(f"label {number}\n" for number in range(1000)))
    return content.getvalue()


@pytest.mark.parametrize("content", [archive(zipfile.ZIP_STORED), b"model" * 10])
def test_a_mapped_file_gives_what_its_bytes_give(content, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(content)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        expected = with_attached_files(content, b"other")
        assert with_attached_files(mapped, b"other") == expected
        (tmp_path / "other").write_bytes(b"other")
        attach_files(mapped, tmp_path / "other")
        assert (tmp_path / "other").read_bytes() == expected


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_files_are_brought_along_and_damaged_ones_are_named(compression):
    content = archive(compression)
    with zipfile.ZipFile(io.BytesIO(with_attached_files(content, b"other"))) as files:
        assert files.read("labels.txt").endswith(b"label 999\n")
    begin, end = content.index(b"labels.txt"), content.rindex(b"PK\1\2")
    places = range(begin, end, 1 + (end - begin) // 200)
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        try:
            with_attached_files(bytes(damaged), b"other")  # Some bits mean nothing.
        except UserError:
            refused += 1
    assert refused > 0.9 * len(places)


def test_a_file_without_an_archive_stays_as_it_is():
    assert with_attached_files(b"model", b"other") == b"other"
