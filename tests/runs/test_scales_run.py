"""A run whose clusters have a scale per output."""

import numpy as np
import tf_keras

from tfcompress import Cluster, Export, compress


def test_scales_stay_from_training_to_the_packed_file_and_in_a_later_call(tiny_data, tmp_path):
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Dense(96, "relu", name="middle")(tf_keras.layers.Flatten()(image))
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, name="head")(x))
    kernel = model.get_layer("middle").kernel
    kernel.assign(kernel * np.exp(np.random.default_rng(0).normal(size=96)))
    fit = {"epochs": 1, "batch_size": 32}
    technique = Cluster(clusters=16, scales=True, initialization="compensated", fit=fit)

    def files() -> dict[str, int]:
        report = compress(model, tiny_data, [technique], tmp_path, export=Export(clustered=True), rehearsal=False)
        (_, stock, packed) = report.variants
        for variant in (stock, packed):
            (found,) = (tensor for tensor in variant.tensors if tensor.layer == "middle")
            assert found.distinct <= 16
        return {path.name: path.stat().st_size for path in (tmp_path / "tflite").iterdir()}

    sizes = files()
    assert min(sizes.values()) < max(sizes.values()) / 3
    for file in (tmp_path / "tflite").glob("*cluster*"):
        file.unlink()
    (tmp_path / "report.json").unlink()
    assert files() == sizes
