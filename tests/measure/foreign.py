"""Files as other projects make them, all small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.tflite import reading, writing


class Foreign(tf.Module):
    """One function a file."""

    def __init__(self) -> None:
        table = np.random.default_rng(0).random((4, 3), np.float32)
        row = tf.TensorSpec((1, 4), tf.float32, name="x")
        self.several = tf.function(
            lambda x: {"sequence": tf.reshape(x @ table, (1, 3, 1)), "logits": x @ table, "sum": tf.reduce_sum(x)},
            [row],
        )
        self.double = tf.function(lambda x: {"double": x * 2.0}, [row])
        self.custom = tf.function(lambda x: {"out": tf.math.betainc(x, x, x)}, [row])
        self.batch = tf.function(lambda x: {"out": x @ table}, [tf.TensorSpec((8, 4), tf.float32, name="x")])
        self.free = tf.function(lambda x: {"out": x @ table}, [tf.TensorSpec((1, None, 4), tf.float32, name="x")])
        self.table = tf.function(
            # Negative ids count from the end, as some libraries have it: the way to the table is not direct.
            lambda ids: {"out": tf.reduce_sum(tf.gather(table, tf.where(ids < 0, ids + 4, ids)), 1)},
            [tf.TensorSpec((1, 5), tf.int32, name="ids")],
        )
        ids, mask = (tf.TensorSpec((1, 5), tf.int32, name=name) for name in ("ids", "attention_mask"))
        self.states = tf.function(lambda ids, mask: {"states": tf.gather(table, ids * mask)}, [ids, mask])
        self.padded = tf.function(
            lambda ids, mask: {"states": tf.gather(table, ids) - tf.cast(1 - mask, tf.float32)[..., None]}, [ids, mask]
        )


def write(folder: Path) -> dict[str, Path]:
    """Writes files by what is special about them; `float`, `uint8` and `unsigned` are one model for 8 × 8 images."""
    module = Foreign()

    def convert(name: str) -> bytes:
        function = getattr(module, name).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        converter.allow_custom_ops = True
        return converter.convert()

    contents = {name: convert(name) for name in ("several", "custom", "batch", "free", "table", "states", "padded")}
    tf.saved_model.save(module, folder / "saved", {"first": module.double, "second": module.several})
    saved = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"), ["first", "second"])
    contents["signatures"] = saved.convert()

    tf_keras.utils.set_random_seed(0)
    flat = [tf_keras.Input((8, 8, 3), name="pixels"), tf_keras.layers.Flatten()]
    model = tf_keras.Sequential([*flat, tf_keras.layers.Dense(10, activation="softmax")])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    contents["float"] = converter.convert()
    rng = np.random.default_rng(0)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([rng.random((1, 8, 8, 3), np.float32)] for _ in range(20))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    contents["uint8"] = converter.convert()
    unsigned = reading.read(contents["float"])
    unsigned.signatures = []
    contents["unsigned"] = writing.write(unsigned)
    contents["garbage"] = b"\x1c\0\0\0TFL3" + bytes(100)
    for name, content in contents.items():
        (folder / f"{name}.tflite").write_bytes(content)
    return {name: folder / f"{name}.tflite" for name in contents} | {"missing": folder / "missing.tflite"}
