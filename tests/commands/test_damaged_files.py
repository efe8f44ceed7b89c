import random

import numpy as np
import pytest

from tests.build import build, composite, constant, graph, node, tensor
from tests.tflite.damage import damaged
from tfcompress.errors import UserError
from tfcompress.export.quantizer import quantize
from tfcompress.export.sources import open_source
from tfcompress.packed.packer import pack
from tfcompress.packed.unpacker import unpack


def small_files() -> list[bytes]:
    """Two dense layers around a composite, a table, and both packed."""
    rng = np.random.default_rng(0)
    w, v, table = (rng.choice(np.float32([-1, 0, 0.5]), shape) for shape in ((64, 16), (48, 64), (99, 32)))
    rows = [tensor(name, (1, 64)) for name in "hg"]
    dense = graph(
        [tensor("x", (1, 16)), constant("w", w), *rows, constant("v", v), tensor("y", (1, 48))],
        [node("FULLY_CONNECTED", (0, 1, -1), (2,)), composite("a", [2], [3], 1), node("FULLY_CONNECTED", (3, 4), (5,))],
        outputs=(5,),
    )
    body = graph([tensor("a", (1, 64)), tensor("b", (1, 64))], [node("TANH", (0,), (1,))], outputs=(1,))
    tensors = [tensor("ids", (1, 4), "int32"), constant("t", table), tensor("rows", (1, 4, 32))]
    lookup = graph(tensors, [node("GATHER", (1, 0), (2,))], outputs=(2,))
    stock = [build(dense, body, signatures=[("run", 0, {"x": 0}, {"y": 5})]), build(lookup)]
    return [*stock, *(pack(content, activations) for content in stock for activations in ("float32", "int8"))]


def with_one_number_changed(content: bytes, rng: random.Random) -> bytes:
    """Most such files can still be read, which shows what reading alone does not."""
    place = rng.randrange(len(content)) & ~3
    number = int.from_bytes(content[place : place + 4], "little", signed=True)
    other = rng.choice((0, 1, -1, number + 1, number - 1, number + 4, number - 4, -number, 2**31 - 1))
    return content[:place] + (other % 2**32).to_bytes(4, "little") + content[place + 4 :]


def test_a_damaged_file_is_converted_and_packed_or_refused_in_one_line(tmp_path):
    sources, rng = small_files(), random.Random(0)
    path = tmp_path / "damaged.tflite"
    done = {
        "converted": lambda content: quantize(open_source(path).content, "dynamic"),
        "float16": lambda content: quantize(open_source(path).content, "float16"),
        "packed": lambda content: pack(content, allow_larger=True),
        "unpacked": unpack,
    }
    ended, refused = dict.fromkeys(done, 0), list[str]()
    for turn in range(80):
        content = rng.choice(sources)
        content = with_one_number_changed(content, rng) if turn % 4 else damaged(content, sources, rng)
        path.write_bytes(content)
        for what, function in done.items():
            try:
                function(content)
                ended[what] += 1
            except UserError as error:
                refused.append(str(error))
    assert min(ended.values()) > 4
    assert len(refused) > 40
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize("beyond", [np.nan, 1e6])
def test_numbers_that_float16_lacks_stay_float32(tmp_path, beyond):
    """NaN may hide the numbers that are too large."""
    kernel = np.resize(np.float32([1, beyond, 2e5, 3]), (16, 16))
    rows = [tensor(name, (1, 16)) for name in "xy"]
    dense = graph([rows[0], constant("w", kernel), rows[1]], [node("FULLY_CONNECTED", (0, 1, -1), (2,))], outputs=(2,))
    (tmp_path / "a.tflite").write_bytes(build(dense))
    content = open_source(tmp_path / "a.tflite").content
    assert len(quantize(content, "float16")) >= len(content) - 64
