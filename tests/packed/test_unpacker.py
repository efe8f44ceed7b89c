import numpy as np
import pytest

from tests.packed.damage import refused
from tests.packed.litert import relative, run
from tfcompress.errors import UserError
from tfcompress.packed import file_weights
from tfcompress.packed.options import read_options
from tfcompress.packed.packer import pack
from tfcompress.packed.unpacker import unpack
from tfcompress.tflite import reading, writing
from tfcompress.tflite.runtimes import minimum_runtime

FLOAT = ["vit", "bert", "minilm", "mobilebert", "keras"]


def weights(content: bytes) -> dict[str, tuple[bytes, list[float]]]:
    return {one.name: (one.values.tobytes(), one.scales.tolist()) for one in file_weights.weights(content)}


@pytest.mark.parametrize("name", FLOAT)
def test_a_float_file_comes_back(stock, name):
    packed = pack(stock[name], allow_larger=True)
    unpacked = unpack(packed)
    assert weights(unpacked) == weights(stock[name])
    assert relative(run(unpacked), run(stock[name])) < 1e-5
    assert pack(unpacked, allow_larger=True) == packed
    assert not any(code.custom for code in reading.read(unpacked).codes)
    assert minimum_runtime(unpacked) == minimum_runtime(stock[name])
    assert "tfcompress.packed" not in [entry.name for entry in reading.read(unpacked).metadata]


@pytest.mark.parametrize("activations", ["float32", "int8"])
@pytest.mark.parametrize("name", ["bert", "bert dynamic", "vit int8"])
def test_weights_come_back_bit_for_bit_in_any_computing_type(stock, name, activations):
    unpacked = unpack(pack(stock[name], activations, allow_larger=True))
    assert weights(unpacked) == weights(stock[name])
    assert relative(run(unpacked), run(stock[name])) < (0.2 if "int8" in name else 0.05)


def test_a_file_that_is_not_packed_is_refused(stock):
    with pytest.raises(UserError, match="not packed"):
        unpack(stock["vit"])


def changed(content: bytes, name: str, options: bytes) -> bytes:
    """A file whose first operator of a name has other options."""
    model = reading.read(content)
    operator = next(one for one in model.operators() if one.kind == name)
    operator.custom_options = options
    return writing.write(model, 64)


def test_other_versions_and_damaged_options_are_refused(stock):
    packed = pack(stock["vit"], allow_larger=True)
    node = next(one for one in reading.read(packed).graphs[0].operators if one.code.custom)
    norm = "tfcompress.LayerNorm"
    for options, message in (
        (b"\3" + node.custom_options[1:], "options of version 3"),
        (b"", "version 0 in 0 bytes"),
        (node.custom_options[:-1], "bytes of options"),
        (np.array([1, -1], "<i4").tobytes(), "invalid options"),  # NaN
    ):
        broken = changed(packed, norm if options == b"" or len(options) == 8 else node.kind, options)
        with pytest.raises(UserError, match=message):
            unpack(broken)
    with pytest.raises(UserError, match="is not an operator of this version"):
        read_options("tfcompress.Other", node.custom_options)


def test_damaged_files_end_in_a_user_error_or_a_file(stock, tmp_path):
    """Options, shapes, inputs and bytes anywhere, changed at random."""
    packed = pack(stock["bert"], "int8", allow_larger=True)
    assert 30 < refused(packed, 150, tmp_path / "damaged.tflite") < 150
