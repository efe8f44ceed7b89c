import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.answers import answers
from tfcompress.errors import UserError
from tfcompress.models import saved
from tfcompress.models.safety import check_safe


def dense(*between):
    """Returns a model with the given layers before its Dense layer."""
    x = y = tf_keras.Input((4,))
    for layer in between:
        y = layer(y)
    return tf_keras.Model(x, tf_keras.layers.Dense(2, activation="gelu", kernel_regularizer="l2")(y))


def doubled():
    return tf_keras.layers.Lambda(lambda v: v * 2)


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved_model"])
def test_a_saved_model_is_loaded_with_the_same_outputs(tiny_vit, images, tmp_path, name):
    tiny_vit.save(tmp_path / name)
    loaded = saved.load(tmp_path / name)
    np.testing.assert_allclose(answers(loaded, images), answers(tiny_vit, images), atol=1e-6)


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved_model"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_lambda_layer_is_refused_before_it_runs(tmp_path, name, nested):
    dense(dense(doubled()) if nested else doubled()).save(tmp_path / name)
    if name == "model.h5":
        (tmp_path / name).rename(tmp_path / "renamed")
        name = "renamed"
    with pytest.raises(UserError, match=r"has a Lambda layer, whose code would run.*--allow-code"):
        saved.load(tmp_path / name)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_allowed_code_is_loaded(tmp_path, name):
    model = dense(doubled())
    model.save(tmp_path / name)
    x = np.ones((1, 4), np.float32)
    loaded = saved.load(tmp_path / name, allow_code=True)
    np.testing.assert_allclose(answers(loaded, x), answers(model, x), atol=1e-6)


def changed(path, old, new):
    """Changes the configuration in a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert old in members["config.json"].decode()
    members["config.json"] = members["config.json"].decode().replace(old, new).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("new", "found"),
    [
        ('"module": "os", "class_name": "system"', r"os\.system, which is not part of Keras"),
        ('"module": "tf_keras.utils", "class_name": "get_file"', r"tf_keras\.utils\.get_file, which"),
        ('"module": "tf_keras", "class_name": "utils.get_file"', r"tf_keras\.utils\.get_file, which"),
        ('"module": "tf_keras.layers", "class_name": "TFSMLayer"', "a TFSMLayer, which would load another"),
    ],
)
def test_a_class_from_elsewhere_is_not_imported(tmp_path, new, found):
    dense(tf_keras.layers.ReLU()).save(tmp_path / "model.keras")
    changed(tmp_path / "model.keras", '"module": "keras.layers", "class_name": "ReLU"', new)
    with pytest.raises(UserError, match=found):
        saved.load(tmp_path / "model.keras")


def edited(path, edit):
    """Changes the layers in the configuration of an `.h5` file."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        edit(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)


def test_a_function_from_elsewhere_is_not_imported(tmp_path):
    dense().save(tmp_path / "model.h5")
    call = {"class_name": "function", "module": "subprocess", "config": "getoutput", "registered_name": "getoutput"}
    edited(tmp_path / "model.h5", lambda layers: layers[-1]["config"].update(activation=call))
    with pytest.raises(UserError, match=r"subprocess\.getoutput, which is not part of Keras"):
        saved.load(tmp_path / "model.h5")


def test_tensorflow_functions_between_layers_must_not_access_files(tmp_path):
    x = tf_keras.Input((4,))
    tf_keras.Model(x, tf.math.sin(x)[:, :2] + 1.0).save(tmp_path / "model.h5")
    assert saved.load(tmp_path / "model.h5").output_shape == (None, 2)
    edited(tmp_path / "model.h5", lambda layers: layers[1]["config"].update(function="io.read_file"))
    with pytest.raises(UserError, match=r"has a call of tf\.io\.read_file"):
        saved.load(tmp_path / "model.h5")


@pytest.mark.parametrize(
    ("found", "unsafe"),
    [
        ("ReadFile", lambda x: tf.strings.length(tf.io.read_file("secret"))),
        ("PyFunc", lambda x: tf.numpy_function(lambda v: v, [x], tf.float32)),
    ],
)
def test_a_graph_must_not_call_python_or_access_files(tmp_path, found, unsafe):
    inner = tf.function(unsafe)
    module = tf.Module()
    module.call = tf.function(lambda x: {"y": inner(x)}, [tf.TensorSpec((None, 4), tf.float32)])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.call})
    with pytest.raises(UserError, match=f"has the operation {found} in its graph"):
        check_safe(tmp_path)


def test_keras_3_models_are_checked(tmp_path):
    x = keras.Input((4,))
    y = keras.ops.sin(keras.layers.Dense(4, activation="gelu")(x))[:, None]
    model = keras.Model(x, keras.layers.MultiHeadAttention(2, 3)(y, y))
    model.compile(loss=lambda a, b: a - b)  # the loss is not loaded
    model.save(tmp_path / "safe.keras")
    check_safe(tmp_path / "safe.keras")
    model.export(tmp_path / "exported", verbose=False)
    check_safe(tmp_path / "exported")
    keras.Model(x, keras.layers.Lambda(lambda v: v)(x)).save(tmp_path / "unsafe.keras")
    with pytest.raises(UserError, match="has a Lambda layer"):
        check_safe(tmp_path / "unsafe.keras")


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_a_file_that_is_not_a_model_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(UserError, match=rf"{name} cannot be loaded as a tf_keras model"):
        saved.load(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.h5 does not exist"):
        saved.load(tmp_path / "nothing.h5")


def test_a_graph_without_a_model_is_refused(tmp_path):
    dense().export(tmp_path / "exported")
    with pytest.raises(UserError, match="exported contains only a graph, not a tf_keras model"):
        saved.load(tmp_path / "exported")


def test_a_file_of_keras_3_is_loaded_by_keras_3(tmp_path):
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(2)(x))
    features = np.ones((1, 4), np.float32)
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        loaded = saved.load(tmp_path / name)
        assert isinstance(loaded, keras.Model)
        np.testing.assert_allclose(loaded(features), model(features), atol=1e-6)


def test_the_graph_of_an_unknown_class_is_not_taken_for_it(tmp_path):
    class Own(tf_keras.layers.Layer):
        def call(self, x):
            return x + 1.0

    dense(Own()).save(tmp_path / "saved_model")
    with pytest.raises(UserError, match=r"saved_model has Own, which is neither part of Keras nor registered"):
        saved.load(tmp_path / "saved_model")


@keras.saving.register_keras_serializable()
class Square(keras.layers.Layer):
    """Cannot be made from its configuration, which lacks an argument."""

    def __init__(self, power, **kwargs):
        super().__init__(**kwargs)
        self.power = power

    def get_config(self):
        return super().get_config()

    def call(self, x):
        return x**self.power


def test_a_class_that_cannot_be_made_again_is_no_wrong_file(tmp_path):
    x = keras.Input((4,))
    keras.Model(x, Square(2)(x)).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"cannot be loaded as a Keras 3 model: .*Square.*; mend the class or the file"):
        saved.load(tmp_path / "model.keras")
