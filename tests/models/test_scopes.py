import keras
import numpy as np
import pytest
import tf_keras

from tests.answers import answers
from tfcompress.models.functional import as_functional


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_a_model_can_have_any_name(library):
    x = library.Input((3,), name="x")
    model = library.Model(x, library.layers.Dense(2)(x), name="Mon modèle")
    copy = as_functional(model)
    assert (copy.name, model.name) == ("Mon_mod_le", "Mon modèle")
    values = np.ones((4, 3), np.float32)
    np.testing.assert_allclose(answers(copy, values), answers(model, values), atol=1e-6)


def test_layers_can_have_any_name():
    x = keras.Input((3,), name="x")
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="é")], name="2 things")
    names = ("the output", "the_output", "é")
    heads = [keras.layers.Dense(2, name=name)(inner(x)) for name in names]
    model = keras.Model(x, keras.layers.Concatenate(name="_all")(heads))
    copy = as_functional(model)
    kernels = [tuple(layer.kernel.shape) for layer in copy.layers if isinstance(layer, tf_keras.layers.Dense)]
    assert sorted(kernels) == [(3, 4), (4, 2), (4, 2), (4, 2)]
    assert [layer.name for layer in model.layers][1:] == ["2 things", *names, "_all"]
    values = np.ones((4, 3), np.float32)
    np.testing.assert_allclose(answers(copy, values), answers(model, values), atol=1e-6)
