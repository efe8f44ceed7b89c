import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.tiny import tiny_vit_of
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.tflite.graph import operator
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import computed
from tfcompress.tflite.writing import write

from ..build import build, constant, graph, node, tensor
from .constants import places, with_constants_after


@pytest.fixture(scope="module", params=["float32", "dynamic"])
def content(request, trained_weights) -> bytes:
    model = tiny_vit_of(trained_weights)
    return convert(model, request.param)


def tree(value):
    """Everything that an object of the schema holds, comparable."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [tree(item) for item in value]
    return {key: tree(item) for key, item in vars(value).items()} if hasattr(value, "__dict__") else value


def parsed(content: bytes) -> schema.ModelT:
    """The file as the schema's own objects."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def outputs(content: bytes, images: np.ndarray) -> np.ndarray:
    runner = Interpreter(model_content=content).get_signature_runner()
    return np.concatenate([runner(image=image[None])["probabilities"] for image in images])


def test_a_file_that_is_read_and_written_is_the_same_model(content, images):
    written = write(read(content))
    assert written[4:8] == b"TFL3"
    assert tree(parsed(written)) == tree(parsed(content))
    np.testing.assert_array_equal(outputs(written, images[:8]), outputs(content, images[:8]))
    assert write(read(written)) == written
    assert len(written) < len(content) + 1024


@pytest.mark.parametrize("alignment", [16, 64, 4096])
def test_every_constant_is_aligned(content, alignment):
    model = read(content)
    model.buffers[3].data = np.arange(7, dtype=np.uint8)
    begins = places(write(model, alignment))
    assert len(begins) > 8
    assert not any(place % alignment for place in begins)


def test_constants_after_the_flatbuffer_move_into_it(content, images):
    outside = with_constants_after(content)
    np.testing.assert_array_equal(outputs(outside, images[:8]), outputs(content, images[:8]))
    assert len(places(outside)) < len(places(content))
    written = write(read(outside))
    assert tree(parsed(written)) == tree(parsed(content))
    assert len(places(written)) == len(places(content))
    np.testing.assert_array_equal(outputs(written, images[:8]), outputs(content, images[:8]))


def test_custom_options_after_the_flatbuffer_move_into_it():
    operator = node("Own", (0,), (1,))
    operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize = 64, 5
    file = build(graph([tensor("x", (1, 4)), constant("w", np.ones((4, 4), np.float32))], [operator]))
    model = read(file)
    assert model.graphs[0].operators[0].custom_options == file[64:69]
    found = parsed(write(model)).subgraphs[0].operators[0]
    assert bytes(found.customOptions) == file[64:69]
    assert found.largeCustomOptionsOffset == found.largeCustomOptionsSize == 0


def test_writing_does_not_change_the_model(content):
    model = read(content)
    written = write(model, 64)
    assert write(model, 64) == written
    assert write(read(content), 64) == written


def test_changes_to_a_graph_are_written(content):
    model = read(content)
    changed, operators = model.graphs[0], len(model.graphs[0].operators)
    first = changed.operators[0]
    out = computed("doubled", changed.outputs[0].free_shape)
    changed.operators = (*changed.operators, operator("ADD", [changed.outputs[0]] * 2, [out]))
    changed.outputs, model.signatures, first.outputs[0].name = [out], [], "renamed"
    found = read(write(model)).graphs[0]
    assert len(found.operators) == operators + 1
    assert found.outputs[0].name == "doubled"
    assert found.producer(found.outputs[0], "ADD").inputs[0] is found.producer(found.outputs[0]).inputs[1]
    assert found.operators[0].outputs[0].name == "renamed"


def test_links_follow_every_change(content):
    model = read(content)
    chain = model.graphs[0]
    first, second = chain.operators[:2]
    tensor = first.outputs[0]
    assert chain.producer(tensor) is first
    other = computed("other", tensor.free_shape)
    first.outputs = (other,)
    assert chain.producer(tensor) is None
    assert chain.producer(other) is first
    second.replace_input(0, other)
    assert second in chain.consumers(other)
    chain.operators = chain.operators[1:]
    assert chain.producer(other) is None


def test_a_changed_constant_is_written(content, images):
    model = read(content)
    largest = max((buffer for buffer in model.buffers if buffer.data is not None), key=lambda buffer: len(buffer.data))
    largest.data = np.zeros(len(largest.data), np.uint8)
    assert np.abs(outputs(write(model), images[:8]) - outputs(content, images[:8])).max() > 1e-3


def test_other_files_and_truncated_ones_are_refused(content):
    for broken in (b"....PNG", content[: len(content) // 2], with_constants_after(content)[:-1]):
        with pytest.raises(UserError, match=r"not a valid \.tflite"):
            read(broken)
