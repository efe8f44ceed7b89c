"""Model files with classes of their own, on the command line."""

from __future__ import annotations

import importlib
import sys

import keras
import numpy as np
import pytest
import tf_keras

from tests.command_line import run
from tfcompress.measure.interpreter import predict

MODULE = """
import {library} as library
from {library} import layers
import tensorflow as tf

class Doubled(layers.Layer):
    def call(self, x):
        return x * 2.0

@{register}("elsewhere")
class Net(library.Model):
    def __init__(self, classes=10, **options):
        super().__init__(**options)
        self.classes, self.conv, self.head = classes, layers.Conv2D(4, 3), layers.Dense(classes)
        self.doubled = Doubled()

    def call(self, images):
        return self.head(tf.reduce_mean(self.doubled(self.conv(images)), (1, 2)))

    def get_config(self):
        return {{**super().get_config(), "classes": self.classes}}
"""
REGISTER = {keras: "library.saving.register_keras_serializable", tf_keras: "library.utils.register_keras_serializable"}


@pytest.fixture(params=[keras, tf_keras], ids=["keras", "tf_keras"])
def folder(request, tmp_path, monkeypatch):
    """Yields a folder with a module and files of its models, which nothing has imported; it is the current one."""
    library = request.param
    (tmp_path / "my_layers.py").write_text(MODULE.format(library=library.__name__, register=REGISTER[library]))
    known = [keras.saving.get_custom_objects(), tf_keras.utils.get_custom_objects()]
    before = [dict(objects) for objects in known]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    module = importlib.import_module("my_layers")
    net = module.Net()
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "outputs.npy", net(images))
    net.save(tmp_path / "net.keras")
    x = library.Input((8, 8, 3))
    functional = library.Model(x, library.layers.Dense(10)(module.Doubled()(library.layers.Flatten()(x))))
    functional.save(tmp_path / "functional.keras")

    def forget():
        sys.modules.pop("my_layers", None)
        for objects, old in zip(known, before, strict=True):
            objects.clear()
            objects.update(old)

    forget()
    sys.path.remove(str(tmp_path))
    yield tmp_path
    forget()


def test_a_subclassed_model_is_loaded_with_its_module_and_converted(folder, monkeypatch, capsys):
    status, _, err = run(
        monkeypatch, capsys, "convert", "net.keras", "-o", "net.tflite", "--to", "float32",
        "--allow-code", "--import", "my_layers",
    )  # fmt: skip
    assert status == 0, err
    found = predict(folder / "net.tflite", np.load("images.npy"))
    np.testing.assert_allclose(found, np.load("outputs.npy"), atol=1e-5)


def test_a_run_takes_a_file_of_a_subclassed_model(folder, monkeypatch, capsys):
    changes = [f"--set={change}" for change in ("techniques=[]", "export.formats=[float32]")]
    status, _, err = run(
        monkeypatch, capsys, "run", "vit_digits", "--workdir", "out", "--model", "net.keras", *changes,
        "--allow-code", "--import", "my_layers",
    )  # fmt: skip
    assert status == 0, err
    assert (folder / "out" / "model.tflite").is_file()


def test_a_layer_that_was_not_registered_is_found_by_its_name(folder, monkeypatch, capsys):
    options = ("--to", "float32", "--allow-code", "--import", "my_layers")
    status, _, err = run(monkeypatch, capsys, "convert", "functional.keras", "-o", "a.tflite", *options)
    assert status == 0, err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "my_layers.Net, which is not part of Keras"),
        (["--import", "my_layers"], "--import my_layers runs the code of that module; pass --allow-code too"),
        (["--allow-code", "--import", "empty"], "net.keras has Net, which is neither part of Keras nor registered"),
        (["--allow-code", "--import", "nowhere"], "--import nowhere failed with ModuleNotFoundError"),
        (["--allow-code", "--import", "./my_layers.py"], "the name of a module as in `import my_layers`"),
        (["--allow-code", "--import", "broken"], "--import broken failed with ZeroDivisionError"),
    ],
)
def test_what_cannot_be_imported_is_one_line(folder, monkeypatch, capsys, options, message):
    def here(what, advice, function, *args, **kwargs):
        return function(*args, **kwargs)

    monkeypatch.setattr("tfcompress.cli.program.call_apart", here)  # A process would import TensorFlow for each.
    (folder / "broken.py").write_text("1 / 0")
    (folder / "my_layers.py").rename("empty.py")
    (folder / "empty.py").write_text("")
    status, _, err = run(monkeypatch, capsys, "convert", "net.keras", "-o", "a.tflite", "--to", "float32", *options)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (folder / "a.tflite").exists()
