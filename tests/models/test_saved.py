import numpy as np
import pytest
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models import saved


@pytest.mark.parametrize("name", ["model.h5", "model.keras", "saved_model"])
def test_a_saved_model_comes_back(tiny_vit, images, tmp_path, name):
    tiny_vit.save(tmp_path / name)
    loaded = saved.load(tmp_path / name)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), tiny_vit.predict(images, verbose=0), atol=1e-6)


@pytest.mark.parametrize("name", ["model.h5", "saved_model"])
def test_a_lambda_layer_is_refused_before_it_runs(tmp_path, name):
    x = tf_keras.Input((4,))
    tf_keras.Model(x, tf_keras.layers.Lambda(lambda v: v * 2)(x)).save(tmp_path / name)
    if name == "model.h5":
        (tmp_path / name).rename(tmp_path / "renamed")
        name = "renamed"
    with pytest.raises(UserError, match="has a Lambda layer, whose code would run"):
        saved.load(tmp_path / name)


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_a_file_that_is_no_model_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(UserError, match=rf"{name} cannot be loaded as a tf_keras model"):
        saved.load(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.h5 does not exist"):
        saved.load(tmp_path / "nothing.h5")
