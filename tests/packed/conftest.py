from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .transformers import SHAPE, WIDTH, cluster, keras_transformer

if TYPE_CHECKING:
    from tests.real_files import Compressed


@pytest.fixture(scope="session")
def stock(request, once) -> dict[str, bytes]:
    """Real files with clustered weights, by the name of their model."""
    return once("stock", lambda: stock_files(request.getfixturevalue("compressed")))


def stock_files(compressed: Compressed) -> dict[str, bytes]:
    import tensorflow as tf

    from tfcompress.export.converter import convert
    from tfcompress.models import presets

    exact = cluster(presets.build("bert_base", 3, **SHAPE))
    approximate = cluster(presets.build("minilm_l6", 3, **SHAPE | {"exact_gelu": False}))
    mobile = {"width": WIDTH, "bottleneck": 16, "embedding": 16, "heads": 2}
    mobilebert = cluster(presets.build("mobilebert", 3, **SHAPE | mobile))
    keras = tf.lite.TFLiteConverter.from_keras_model(cluster(keras_transformer()))
    return {
        "vit": convert(compressed["cluster"][0], "float32"),
        "vit int8": convert(compressed["quantize"][0], "int8"),
        "bert": convert(exact, "float32"),
        "bert dynamic": convert(exact, "dynamic"),
        "minilm": convert(approximate, "float32", logits=True),
        "mobilebert": convert(mobilebert, "float32"),
        "keras": keras.convert(),
    }
