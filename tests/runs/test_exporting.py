import numpy as np
import pytest
import tf_keras

from tfcompress.measure.interpreter import Runner
from tfcompress.models.outputs import Outputs
from tfcompress.packed.packer import pack
from tfcompress.packed.stock_codebooks import read_codebooks
from tfcompress.packed.unpacker import unpack
from tfcompress.runs.exporting import export_stage
from tfcompress.runs.recipe import Export
from tfcompress.runs.stages import Stage
from tfcompress.tflite.reading import read
from tfcompress.traits import KernelTraits


def test_clusters_beside_a_batch_normalization_stay_in_every_format(tiny_data, tmp_path):
    layers = tf_keras.layers
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(48, 3, name="conv")(image)))
    model = tf_keras.Model(image, layers.Dense(10, name="head")(layers.Flatten()(x)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.2, 1.5, weight.shape) for weight in model.get_weights()])
    conv = model.get_layer("conv").kernel
    conv.assign(rng.choice(np.linspace(-1, 1.5, 8), conv.shape))
    traits = {"conv": KernelTraits(clusters=8)}
    stage = Stage("cluster", "01-cluster", model, tiny_data, traits, [], Outputs.LOGITS, ("probabilities",))
    files = export_stage(stage, Export(formats=("float32", "float16", "dynamic")), tmp_path)
    for file, stored_as in zip(files, ("float32", "float16", "int8"), strict=True):
        (kernel,) = (tensor for tensor in file.tensors if tensor.layer == "conv")
        assert (kernel.format, kernel.distinct) == (stored_as, 8)


def test_a_scale_per_output_reaches_the_packed_file_and_comes_back(tiny_data, tmp_path):
    layers = tf_keras.layers
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization()(layers.Dense(96, name="middle")(layers.Flatten()(image)))
    model = tf_keras.Model(image, layers.Dense(10, name="head")(layers.ReLU()(x)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.2, 1.5, weight.shape) for weight in model.get_weights()])
    scales = rng.uniform(0.5, 2, 96).astype(np.float32)
    kernel = model.get_layer("middle").kernel
    kernel.assign(rng.choice(rng.normal(size=16), kernel.shape) * scales)
    traits = {"middle": KernelTraits(clusters=16, scales=tuple(scales.tolist()))}
    stage = Stage("cluster", "01-cluster", model, tiny_data, traits, [], Outputs.LOGITS, ("probabilities",))
    stock, packed = export_stage(stage, Export(clustered=True), tmp_path)
    for file in (stock, packed):
        (found,) = (tensor for tensor in file.tensors if tensor.layer == "middle")
        assert (found.format, found.distinct) == ("float32", 16)
    assert packed.path.stat().st_size < stock.path.stat().st_size / 3
    [book] = read_codebooks(read(stock.path.read_bytes())).values()
    assert np.abs(book.centroids).max() == pytest.approx(127)  # Rounded to int8, they lose least.
    examples = [{"image": picture} for picture in tiny_data.sample(8, 0)]
    expected = [Runner(stock.path).run(example) for example in examples]
    np.testing.assert_allclose([Runner(packed.path).run(example) for example in examples], expected, atol=1e-5)
    restored = tmp_path / "restored.tflite"
    restored.write_bytes(unpack(packed.path.read_bytes()))
    np.testing.assert_allclose([Runner(restored).run(example) for example in examples], expected, atol=1e-5)
    assert pack(restored.read_bytes()) == packed.path.read_bytes()
    # What was written before is verified again.
    assert export_stage(stage, Export(clustered=True), tmp_path) == [stock, packed]
