import numpy as np
import pytest
import tf_keras

from tfcompress.data import registry
from tfcompress.data.dataset import Dataset
from tfcompress.data.images import digits
from tfcompress.data.tasks import Regression
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.interpreter import predict
from tfcompress.study.bits import Bits
from tfcompress.study.budget import cluster_within


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The path of a classifier of digits with random weights, of which one kernel has more than a thousand."""
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Dense(6, "relu")(tf_keras.layers.Flatten()(image))
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, "softmax", name="probabilities")(x))
    model.set_weights([2 * weights for weights in model.get_weights()])
    path = tmp_path_factory.mktemp("source") / "digits.tflite"
    path.write_bytes(convert(model, "float32"))
    return path


def test_a_budget_in_points_is_kept_on_the_validation_split(source, tmp_path, capsys):
    out = tmp_path / "out.tflite"
    arguments = {"calibration": "digits", "examples": 16, "packed": False}
    found = cluster_within(source, out, budget="3pt", selection="digits", **arguments)
    study = Bits.load(tmp_path / "out.tflite.bits" / "bits.json")
    images, labels = zip(*digits().examples("validation").as_numpy_iterator(), strict=True)
    before, after = (predict(path, images).argmax(axis=1) == np.array(labels) for path in (source, out))
    assert study.before.quality.value == pytest.approx(before.mean())
    assert study.after.quality.value == pytest.approx(after.mean())
    assert before.mean() - after.mean() <= 0.03
    assert found.kernels == len(study.layers) == 1
    assert f"{len(labels)} examples of digits" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "out.tflite.bits" / "bits.svg").read_text().startswith("<svg ")


def test_a_budget_of_points_for_what_is_no_percentage_is_refused(source, tmp_path, monkeypatch):
    split = (np.zeros((4, 8, 8, 3), np.float32), np.zeros(4, np.float32))
    data = Dataset.from_arrays("prices", (), split, split, split, task=Regression())
    image = tf_keras.Input((8, 8, 3), name="image")
    dense = tf_keras.layers.Dense(6, name="dense")(tf_keras.layers.Flatten()(image))
    file = tmp_path / "price.tflite"
    file.write_bytes(convert(tf_keras.Model(image, tf_keras.layers.Dense(1, name="price")(dense)), "float32"))
    monkeypatch.setattr(registry, "load", lambda *_: data)
    with pytest.raises(UserError, match=r"MAE on digits is no percentage, so it has no points; .* such as 0\.3"):
        cluster_within(file, tmp_path / "out.tflite", budget="0.3pt", selection="digits", calibration="digits")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": "little"}, "budget 'little' is not a number of points; give one such as 0.3pt"),
        ({"budget": "1pt", "budget_kl": 0.1}, "give a budget in points of the score, such as 0.3pt, or one in KL"),
        ({"selection": "digits"}, "give a budget in points of the score, such as 0.3pt, or one in KL"),
        ({"budget_kl": 0.1, "bits": 4}, "a budget decides the bits of each layer; leave out"),
        ({"budget_kl": 0.1, "calibration": None}, "a budget needs calibration examples.*--calibration"),
        ({"budget": "1pt"}, r"a budget in points is judged on labelled data; give --selection .*\(--budget-kl\)"),
        (
            {"budget": "0.1pt", "selection": "digits"},
            "0.1 points are less than one of the .* examples of digits; give at least 1,000 examples",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_and_nothing_is_written(arguments, message, source, tmp_path):
    with pytest.raises(UserError, match=message):
        cluster_within(source, tmp_path / "out.tflite", **{"calibration": "digits", "examples": 16} | arguments)
    assert not list(tmp_path.iterdir())
