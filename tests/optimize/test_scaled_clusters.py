import numpy as np
import pytest
import tf_keras
from pydantic import ValidationError

from tests.answers import answers
from tfcompress.errors import UserError
from tfcompress.measure.divergence import divergence
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.quantization import Quantize
from tfcompress.optimize.technique import Context, check_order
from tfcompress.traits import FloatArray, distinct_values, kernels, measure_model, unscaled

from ..apply import apply

FIT = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3}
SCALED = {"clusters": 8, "scales": True, "initialization": "compensated"}


@pytest.fixture
def uneven() -> tf_keras.Model:
    """A model of the 8 × 8 pictures, in whose middle outputs differ in size."""
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Dense(48, "relu", name="middle")(tf_keras.layers.Flatten()(image))
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, name="head")(x))
    kernel = model.get_layer("middle").kernel
    kernel.assign(kernel * np.exp(np.random.default_rng(0).normal(size=48)))
    return model


def codes(kernel: FloatArray, scales: tuple[float, ...]) -> np.ndarray:
    """The place of each weight's centroid among the centroids."""
    return np.unique(unscaled(kernel, scales), return_inverse=True)[1]


def test_outputs_have_scales_where_that_pays(uneven, tiny_data, tmp_path):
    expected = answers(uneven, tiny_data.batches("test", 64))

    def lost(scales: bool) -> float:
        model, traits = apply(Cluster(clusters=8, training=False, scales=scales), uneven, tiny_data, tmp_path)
        middle, head = (model.get_layer(name).kernel.numpy() for name in ("middle", "head"))
        assert (len(traits["middle"].scales), traits["head"].scales) == (48 * scales, ())
        assert distinct_values(head) <= 8
        assert distinct_values(middle, traits["middle"].scales) <= 8
        assert (distinct_values(middle) > 8) == scales
        return divergence(answers(model, tiny_data.batches("test", 64)), expected).mean()

    assert lost(True) < lost(False) / 2


def test_training_begins_there_and_moves_indices_centroids_and_scales(uneven, tiny_data, images, tmp_path):
    free, begun = apply(Cluster(training=False, **SCALED), uneven, tiny_data, tmp_path)
    technique = Cluster(fit=FIT, **SCALED)
    wrapped = technique.prepare(uneven, Context(tiny_data, measure_model(uneven), 8))
    np.testing.assert_allclose(wrapped(images), free(images), rtol=1e-4, atol=1e-4)
    trained, ended = apply(technique, uneven, tiny_data, tmp_path)
    scales = np.array([begun["middle"].scales, ended["middle"].scales])
    assert np.all(scales > 0)
    assert np.ptp(scales[1] / scales[0]) > 0.01
    before, after = (
        codes(model.get_layer("middle").kernel.numpy(), traits["middle"].scales)
        for model, traits in ((free, begun), (trained, ended))
    )
    assert 0 < np.mean(before != after) < 0.5


def test_pruned_weights_stay_zero(uneven, tiny_data, tmp_path):
    pruned, traits = apply(Prune(sparsity=0.5, schedule="constant", fit=FIT), uneven, tiny_data, tmp_path)
    model, traits = apply(Cluster(fit=FIT, **SCALED), pruned, tiny_data, tmp_path, traits)
    assert (traits["middle"].sparsity, len(traits["middle"].scales)) == (0.5, 48)
    for name, kernel in kernels(model).items():
        assert np.all(kernel[kernels(pruned)[name] == 0] == 0)
        assert distinct_values(kernel, traits[name].scales) <= 8


def test_no_technique_may_follow_scales():
    with pytest.raises(UserError, match="quantize cannot follow cluster with scales: true"):
        check_order([Cluster(**SCALED), Quantize()])


def test_centroids_that_start_elsewhere_have_no_scales():
    with pytest.raises(ValidationError, match="scales need initialization: compensated; it is kmeans"):
        Cluster(scales=True)
