import flatbuffers
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.tiny import TINY
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.models.vit import vit
from tfcompress.tflite.writing import read, write

from .constants import places, with_constants_behind


@pytest.fixture(scope="module", params=["float32", "dynamic"])
def content(request, trained_weights) -> bytes:
    model = vit(TINY, 10)
    model.set_weights(trained_weights)
    return convert(model, request.param)


def tree(value):
    """Everything that an object of the schema holds, comparable."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [tree(item) for item in value]
    return {key: tree(item) for key, item in vars(value).items()} if hasattr(value, "__dict__") else value


def outputs(content: bytes, images: np.ndarray) -> np.ndarray:
    runner = Interpreter(model_content=content).get_signature_runner()
    return np.concatenate([runner(image=image[None])["probabilities"] for image in images])


def test_a_file_that_is_read_and_written_is_the_same_model(content, images):
    written = write(read(content))
    assert written[4:8] == b"TFL3"
    assert tree(read(written)) == tree(read(content))
    np.testing.assert_array_equal(outputs(written, images[:8]), outputs(content, images[:8]))
    assert write(read(written)) == written
    assert len(written) < len(content) + 1024


@pytest.mark.parametrize("alignment", [16, 64, 4096])
def test_every_constant_begins_where_the_runtime_wants_it(content, alignment):
    model = read(content)
    model.buffers[3].data = list(range(7))
    begins = places(write(model, alignment))
    assert len(begins) > 8
    assert not any(place % alignment for place in begins)


def test_constants_behind_the_flatbuffer_are_brought_in(content, images):
    outside = with_constants_behind(content)
    np.testing.assert_array_equal(outputs(outside, images[:8]), outputs(content, images[:8]))
    assert len(places(outside)) < len(places(content))
    assert tree(read(outside)) == tree(read(content))
    written = write(read(outside))
    assert len(places(written)) == len(places(content))
    np.testing.assert_array_equal(outputs(written, images[:8]), outputs(content, images[:8]))


def test_custom_options_behind_the_flatbuffer_are_brought_in(content):
    model = read(content)
    operator = model.subgraphs[0].operators[0]
    operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = 64, 5
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    file = bytes(builder.Output())
    found = read(file).subgraphs[0].operators[0]
    assert bytes(found.customOptions) == file[64:69]
    assert found.largeCustomOptionsOffset == found.largeCustomOptionsSize == 0


def test_writing_changes_nothing_of_the_model(content):
    model = read(content)
    before = tree(model)
    write(model, 64)
    assert tree(model) == before
    assert not any(isinstance(buffer.data, bytes) for buffer in model.buffers)


def test_a_changed_constant_is_the_files(content, images):
    model = read(content)
    largest = max((buffer for buffer in model.buffers if buffer.data is not None), key=lambda buffer: len(buffer.data))
    largest.data = bytes(len(largest.data))
    assert np.abs(outputs(write(model), images[:8]) - outputs(content, images[:8])).max() > 1e-3


def test_what_is_no_file_or_half_of_one_is_refused(content):
    for broken in (b"....PNG", content[: len(content) // 2], with_constants_behind(content)[:-1]):
        with pytest.raises(UserError, match=r"not a valid \.tflite"):
            read(broken)
