"""One file a technique, all with the interface of `technique.Technique`."""

from tfcompress.keras3 import without_keras3

with without_keras3():
    import tensorflow_model_optimization  # noqa: F401 - imported here first
