import numpy as np
import pytest
import tf_keras

from tfcompress.optimize.quantize_wrappers import KernelsConfig, QuantizedReader
from tfcompress.traits import KernelTraits, variables

layers = tf_keras.layers
CENTROIDS = np.array([-0.3, -0.2, 0.0, 0.1, 0.4], np.float32)


@pytest.mark.parametrize("layer", [lambda: layers.Dense(6), lambda: layers.Conv2D(6, 2)])
@pytest.mark.parametrize(("sparsity", "clusters"), [(0.0, 5), (0.1, 5), (0.1, None)])
def test_a_kernel_keeps_its_zeros_and_clusters(layer, sparsity, clusters):
    rng = np.random.default_rng(0)
    inputs = tf_keras.Input((3, 3, 4))
    inner = layer()
    inner.build(inputs.shape)
    kernel = rng.choice(CENTROIDS, inner.kernel.shape) * (1 if clusters else rng.uniform(0.5, 2, inner.kernel.shape))
    inner.set_weights([kernel.astype(np.float32), np.zeros(6)])
    kernel = inner.get_weights()[0]
    config = KernelsConfig(["kernel"], {"kernel": KernelTraits(clusters, sparsity)})
    wrapper = QuantizedReader(inner, config)
    model = tf_keras.Model(inputs, wrapper(inputs))
    model.compile("adam", "mse")
    features = rng.normal(size=(16, 3, 3, 4))
    model.fit(features, rng.normal(size=(16, *model.output.shape[1:])), epochs=3, batch_size=8, verbose=0)
    trained = variables(wrapper)["kernel"].numpy()
    assert np.all((trained != kernel) | (kernel == 0))
    if sparsity:
        np.testing.assert_array_equal(trained == 0, kernel == 0)
    if clusters:
        assert len(np.unique(trained)) == 5
        assert len({(a, b) for a, b in zip(kernel.ravel(), trained.ravel(), strict=True)}) == 5


def test_a_frozen_layer_does_not_train():
    inner = layers.Dense(2)
    inner.trainable = False
    wrapper = QuantizedReader(inner, KernelsConfig(["kernel"]))
    wrapper(tf_keras.Input((3,)))
    assert wrapper.trainable_weights == []
    assert {"kernel", "bias"} <= set(variables(wrapper))
