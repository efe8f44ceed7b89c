import numpy as np
import pytest
import tf_keras

from tests.answers import answers
from tfcompress.errors import UserError
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.compensation import cluster_for_inputs
from tfcompress.optimize.technique import copy_model
from tfcompress.post_training.method import Settings, cluster_kernel
from tfcompress.traits import FloatArray

layers = tf_keras.layers


def expected(layer: tf_keras.layers.Layer, inputs: FloatArray) -> FloatArray:
    """The kernel of a Dense layer, clustered for inputs (rows, inputs)."""
    moments = (inputs.T @ inputs).astype(np.float64)
    return cluster_kernel(layer.kernel.numpy().T.copy(), moments, Settings(8, scales=False)).values().T


def before(model: tf_keras.Model, name: str) -> tf_keras.Model:
    """A model that outputs what a layer reads."""
    return tf_keras.Model(model.inputs, model.get_layer(name).input)


def test_a_kernel_is_clustered_for_its_inputs_behind_clustered_layers(tiny_bert, tiny_text):
    model, features = copy_model(tiny_bert), tiny_text.sample(96, 0)
    mask = features["padding_mask"] != 0
    assert not mask.all()
    for name in ("block_0_query", "block_1_mlp2"):
        tokens = answers(before(model, name), features)[mask]
        model.get_layer(name).kernel.assign(expected(model.get_layer(name), tokens))
    cluster_for_inputs(tiny_bert, features, {"block_1_mlp2": 8, "block_0_query": 8})
    for found, wanted in zip(tiny_bert.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_a_kernel_that_is_used_twice_is_clustered_for_all_of_its_inputs(memory):
    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input((24,))
    shared = layers.Dense(24, name="shared")
    middle = layers.Lambda(lambda x: x[:, ::-1] ** 2)(shared(inputs))
    model = tf_keras.Model(inputs, layers.Dense(3)(shared(middle)))
    x = np.random.default_rng(0).normal(size=(100, 24)).astype(np.float32)
    both = np.concatenate([x, answers(tf_keras.Model(inputs, middle), x)])
    wanted = expected(shared, both)
    cluster_for_inputs(model, x, {"shared": 8}, memory)
    np.testing.assert_allclose(shared.kernel.numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"strides": 2, "padding": "same"}, {"dilation_rate": 2}, {"groups": 2, "padding": "same"}]
)
def test_a_convolution_is_clustered_for_its_patches(settings):
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((12, 12, 8))
    model = tf_keras.Model(image, layers.Conv2D(16, 3, name="convolution", **settings)(image))
    rng = np.random.default_rng(0)
    images = np.cumsum(rng.normal(size=(40, 12, 12, 8)), axis=1).astype(np.float32)
    exact = answers(model, images)

    def error(initialization: str) -> float:
        copy = copy_model(model)
        kernel = copy.get_layer("convolution").kernel
        if initialization == "compensated":
            cluster_for_inputs(copy, images, {"convolution": 8})
        else:
            kernel.assign(Cluster(clusters=8).applied(kernel.numpy()))
        assert len(np.unique(kernel)) <= 8
        return float(np.mean((answers(copy, images) - exact) ** 2))

    grouped = "groups" in settings
    assert error("compensated") < error("kmeans++") / (0.5 if grouped else 2)
    told = Cluster(training=False, types={"Conv2D": {}}).explain(model)
    assert told == (
        {"convolution": "clustered by k-means alone, because its convolution is grouped or has its channels first"}
        if grouped
        else {}
    )


def test_inputs_that_are_not_finite_are_refused(tiny_vit, images):
    images[3, 2, 2, 0] = np.nan
    with pytest.raises(
        UserError, match="the inputs of patch_embedding are not finite numbers on the calibration examples"
    ):
        cluster_for_inputs(tiny_vit, images, {"patch_embedding": 8, "head": 8})
