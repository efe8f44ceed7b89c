import io
import json
import pickle
import zipfile
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema

from tests.build import build, constant, dense_file, graph, node, tensor
from tests.models.pretrained.hugging_face_folders import (
    BERT,
    ROWS,
    VIT,
    WIDTH,
    WORDS,
    bert_tensors,
    vit_tensors,
)
from tests.models.pretrained.hugging_face_folders import write as write_checkpoint
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.export.sources import of_model, open_source
from tfcompress.optimize.quantization import load_scope
from tfcompress.tflite.metadata import Description, ImageInput, TextInput
from tfcompress.tflite.reading import read


def write_stage(folder: Path, model: tf_keras.Model, **settings) -> Path:
    """Writes the files of a finished stage, as a run does."""
    folder.mkdir(parents=True)
    model.save(folder / "model.h5", include_optimizer=False)
    (folder / "stage.json").write_text("{}")
    (folder.parent.parent / "run.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved_model"])
def test_an_opened_keras_model_gives_the_same_outputs(tiny_vit, images, tmp_path, name):
    tiny_vit.save(tmp_path / name)
    (output,) = open_source(tmp_path / name).run({"image": images[:1]}).values()
    np.testing.assert_allclose(output, tiny_vit(images[:1]), atol=1e-5)


def test_several_inputs_keep_their_names(tiny_bert, tiny_text, tmp_path):
    example = {name: x[:1] for name, x in tiny_text.sample(1, 0).items()}
    tiny_bert.save(tmp_path / "bert")
    for source in (open_source(tmp_path / "bert"), of_model(tiny_bert)):
        (output,) = source.run(example).values()
        np.testing.assert_allclose(output, tiny_bert(example), atol=1e-5)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "exported"])
def test_a_model_of_keras_3_is_opened(tmp_path, name):
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second", dtype="int32")
    y = keras.layers.Concatenate()([first, keras.layers.Rescaling(0.5)(second)])
    model = keras.Model([first, second], keras.layers.Dense(3, activation="softmax")(y))
    if name == "exported":
        model.export(tmp_path / name, verbose=False)
    else:
        model.save(tmp_path / name)
    inputs = {"first": np.ones((1, 4), np.float32), "second": np.full((1, 4), 3, np.int32)}
    for source in (open_source(tmp_path / name), of_model(model)):
        (output,) = source.run(inputs).values()
        np.testing.assert_allclose(output, model(inputs), atol=1e-6)
        assert [spec.name for spec in source.serving.function.input_signature] == ["first", "second"]


def test_any_saved_model_with_a_signature_is_opened(tmp_path):
    module = tf.Module()
    module.scale = tf.Variable([1.0, 2.0])
    module.call = tf.function(lambda x: {"twice": x * module.scale}, [tf.TensorSpec((None, 2), tf.float32, "x")])
    tf.saved_model.save(module, str(tmp_path / "one"), signatures={"twice": module.call})
    source = open_source(tmp_path / "one")
    np.testing.assert_array_equal(source.run({"x": np.ones((1, 2))})["twice"], [[1, 2]])
    tf.saved_model.save(tf.Module(), str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"none has the signatures none; a SavedModel needs one"):
        open_source(tmp_path / "none")


def test_a_model_that_scales_its_pixels_says_what_it_takes():
    image = tf_keras.Input((8, 8, 3))
    pooled = tf_keras.layers.GlobalAveragePooling2D()
    scaling, plain = (
        of_model(tf_keras.Sequential([image, tf_keras.layers.Rescaling(factor), pooled])) for factor in (1 / 255, 1.0)
    )
    assert scaling.description.input == ImageInput((0.0,), (1.0,))
    assert plain.description is None


def test_a_stage_gives_probabilities_and_knows_its_data(tiny_vit, images, tmp_path):
    data = {"name": "digits", "classes": list("0123456789")}
    stage = write_stage(tmp_path / "run" / "stages" / "00-base", tiny_vit, **{"data set": data})
    for path in (stage, stage / "model.h5", tmp_path / "run"):
        source = open_source(path)
        found = source.run({"image": images[:1]})["probabilities"]
        np.testing.assert_allclose(found, tf.nn.softmax(tiny_vit(images[:1])), atol=1e-6)
        assert source.description.labels == tuple("0123456789")
        assert source.description.input == ImageInput()


def test_a_stage_of_texts_has_its_vocabulary_and_may_give_logits(tiny_bert, tiny_text, tmp_path):
    stage = write_stage(tmp_path / "stages" / "00-base", tiny_bert, export={"logits": True})
    tiny_text.decode.save(stage)
    source = open_source(stage)
    example = tiny_text.sample(1, 0)
    np.testing.assert_allclose(source.run(example)["logits"], tiny_bert(example), atol=1e-5)
    assert source.description.input == TextInput(tiny_text.decode.vocabulary, True)


def test_a_hugging_face_folder_says_what_it_takes(tmp_path, capsys):
    image, text = tmp_path / "image", tmp_path / "text"
    for folder in (image, text):
        folder.mkdir()
    labels = {str(place): name for place, name in enumerate(("cat", "dog", "tree"))}
    write_checkpoint(image, {**VIT, "id2label": labels}, vit_tensors(), words=None, preprocessor_config={})
    source = open_source(image)
    assert source.run({"image": np.ones((1, 8, 8, 3))})["probabilities"].sum() == pytest.approx(1)
    assert source.description == Description(
        "image",
        "Classifies images into 3 classes.",
        ("cat", "dog", "tree"),
        ImageInput((0.0,), (255.0,)),
        "classification",
    )

    write_checkpoint(
        text, {**BERT, "architectures": ["BertModel"]}, bert_tensors(), tokenizer_config={"do_lower_case": False}
    )
    source = open_source(text)
    ids = {name: np.ones((1, ROWS), np.int32) for name in ("token_ids", "segment_ids", "padding_mask")}
    assert source.run(ids)["last_hidden_state"].shape == (1, ROWS, WIDTH)
    assert source.description == Description("text", input=TextInput(tuple(WORDS), lowercase=False))

    (text / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    assert open_source(text).description.input is None
    assert "has the tokenizer RobertaTokenizer, but phones cut texts as BERT does" in " ".join(
        capsys.readouterr().err.split()
    )

    (text / "tokenizer_config.json").unlink()
    write_checkpoint(text, {**BERT, "architectures": ["BertForTokenClassification"]}, bert_tensors())
    assert open_source(text).run(ids)["probabilities"].shape == (1, ROWS, 3)
    (text / "modules.json").write_text('[{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "1_Pooling"}]')
    (text / "1_Pooling").mkdir()
    (text / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    source = open_source(text)
    assert source.run(ids)["embedding"].shape == (1, WIDTH)
    assert (source.description.text, source.description.task) == ("Gives an embedding.", "embedding")
    (text / "modules.json").unlink()

    write_checkpoint(text, {**BERT, "problem_type": "regression"}, bert_tensors())
    source = open_source(text)
    assert source.run(ids)["numbers"].shape == (1, 3)
    assert source.description.labels == ()
    write_checkpoint(text, {**BERT, "problem_type": "multi_label_classification"}, bert_tensors())
    several = open_source(text).run(ids)["probabilities"]
    assert ((several > 0) & (several < 1)).all()
    assert several.sum() != pytest.approx(1)


def test_a_working_folder_stands_for_its_last_stage_and_quantization_is_detected(compressed, tiny_vit, tmp_path):
    write_stage(tmp_path / "stages" / "00-base", tiny_vit)
    write_stage(tmp_path / "stages" / "01-quantize", compressed["quantize"][0])
    (tmp_path / "stages" / "02-unfinished").mkdir()
    with load_scope():
        assert open_source(tmp_path).quantized
        assert not open_source(tmp_path / "stages" / "00-base").quantized


def test_a_file_is_opened_and_gets_a_signature(tiny_vit, tmp_path):
    content = convert(tiny_vit, "float32")
    (tmp_path / "with.TFLITE").write_bytes(content)
    assert open_source(tmp_path / "with.TFLITE").content == content
    identity = constant("w", np.eye(4, dtype=np.float32))
    (tmp_path / "without.tflite").write_bytes(dense_file(identity, x="serving_default_x:0"))
    model = read(open_source(tmp_path / "without.tflite").content)
    (signature,), tensors = model.signatures, model.graphs[0].tensors
    assert (signature.inputs, signature.outputs) == ({"x": tensors[0]}, {"y": tensors[2]})
    with zipfile.ZipFile(tmp_path / "without.tflite", "a") as attached:
        attached.writestr("labels.txt", "yes")
    with zipfile.ZipFile(io.BytesIO(open_source(tmp_path / "without.tflite").content)) as attached:
        assert attached.read("labels.txt") == b"yes"


@pytest.mark.parametrize("signed", [False, True])
def test_operator_codes_of_an_old_file_are_made_readable(tmp_path, signed):
    signatures = [("run", 0, {"x": 0}, {"y": 2})] if signed else []
    file = schema.ModelT.InitFromPackedBuf(
        dense_file(constant("w", np.eye(4, dtype=np.float32)), signatures=signatures), 0
    )
    for code in file.operatorCodes:
        code.builtinCode = 0  # as TensorFlow up to 2.3 wrote it
    builder = flatbuffers.Builder()
    builder.Finish(file.Pack(builder), b"TFL3")
    (tmp_path / "old.tflite").write_bytes(builder.Output())
    written = schema.ModelT.InitFromPackedBuf(open_source(tmp_path / "old.tflite").content, 0)
    assert [code.builtinCode for code in written.operatorCodes] == [schema.BuiltinOperator.FULLY_CONNECTED]


def test_tensors_without_a_name_of_their_own_get_one(tmp_path):
    tensors = [tensor("", (1, 4)), tensor("x", (1, 4)), tensor("x", (1, 4)), tensor("", (1, 4))]
    sums = [node("ADD", [0, 1], [3]), node("ADD", [1, 0], [2])]
    (tmp_path / "a.tflite").write_bytes(build(graph(tensors, sums, inputs=(0, 1), outputs=(2, 3, 2))))
    (signature,) = read(open_source(tmp_path / "a.tflite").content).signatures
    assert list(signature.inputs) == ["input_0", "x"]
    assert list(signature.outputs) == ["x", "output_1", "x_1"]


def test_a_file_without_outputs_is_refused(tmp_path):
    (tmp_path / "a.tflite").write_bytes(build(graph([tensor("x", (1, 4))], [])))
    with pytest.raises(UserError, match="has no outputs, so it computes nothing"):
        open_source(tmp_path / "a.tflite")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weights": 1}))
    (tmp_path / "broken.tflite").write_bytes(b"nothing")
    (tmp_path / "saved_model.pb").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "unreadable.tflite").symlink_to("/proc/self/mem")  # not even by root
    for name, message in {
        "missing": "missing does not exist; give a SavedModel folder",
        "model.pkl": r"model\.pkl is not a model file that can be read",
        "broken.tflite": r"broken\.tflite is not a valid \.tflite",
        "unreadable.tflite": r"cannot read .*unreadable\.tflite: Input/output error",
        "empty": "empty holds no SavedModel, no Hugging Face model and no",
        "": "cannot be loaded as a SavedModel",
    }.items():
        with pytest.raises(UserError, match=message):
            open_source(tmp_path / name)


def test_inputs_must_have_a_fixed_shape(tmp_path):
    x = tf_keras.Input((None, 4), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(x))
    with pytest.raises(UserError, match="mine: input x must be a tensor of numbers"):
        of_model(model, "mine")
    model.save(tmp_path / "saved_model")
    with pytest.raises(UserError, match="input x must be a tensor of numbers"):
        open_source(tmp_path / "saved_model")

    class Own(tf_keras.Model):
        pass

    with pytest.raises(UserError, match="has never been called, so its inputs are not known"):
        of_model(Own())


@pytest.mark.parametrize(("file", "content"), [("run.json", "[]"), ("stages/00-base/stage.json", '{"outputs"')])
def test_a_stage_with_a_damaged_file_is_refused(tiny_vit, tmp_path, file, content):
    stage = write_stage(tmp_path / "stages" / "00-base", tiny_vit)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=rf"{file} cannot be read \(.+\); "):
        open_source(stage)


def test_a_keras_3_model_with_foreign_classes_is_refused(tmp_path):
    @keras.saving.register_keras_serializable("elsewhere")
    class Own(keras.layers.Layer):
        def call(self, x):
            return x

    x = keras.Input((4,))
    keras.Model(x, Own()(x)).save(tmp_path / "own.keras")
    assert open_source(tmp_path / "own.keras").serving is not None  # this process has registered it
    del keras.saving.get_custom_objects()["elsewhere>Own"]
    with pytest.raises(UserError, match=r"test_sources\.Own, which is not part of Keras"):
        open_source(tmp_path / "own.keras")
    with pytest.raises(UserError, match="has Own, which is neither part of Keras nor registered"):
        open_source(tmp_path / "own.keras", allow_code=True)
