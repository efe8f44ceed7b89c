import numpy as np
import tf_keras

from tfcompress.models.outputs import Outputs
from tfcompress.runs.exporting import export_stage
from tfcompress.runs.recipe import Export
from tfcompress.runs.stages import Stage
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
