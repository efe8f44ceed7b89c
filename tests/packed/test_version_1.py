"""Files of version 1 of the packed format: they are written with the recorded bytes, and can still be read."""

import json

import pytest

from tfcompress.inspect.contents import inspect
from tfcompress.packed.packer import pack
from tfcompress.packed.unpacker import unpack

from .golden import VERSION_1, digests, packed_files


@pytest.mark.slow
def test_files_are_packed_with_the_recorded_bytes():
    recorded = json.loads((VERSION_1 / "sha256.json").read_text())
    assert {name: digests(made) for name, made in packed_files()} == recorded


@pytest.mark.parametrize("file", sorted(VERSION_1.glob("*.tflite")), ids=lambda file: file.stem)
def test_a_recorded_file_is_read_unpacked_and_packed_again(file):
    content = file.read_bytes()
    assert any("bit" in row.type for row in inspect(file).weights)
    assert pack(unpack(content), allow_larger=True) == content
