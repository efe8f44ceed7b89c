from __future__ import annotations

import numpy as np
import pytest

from tests.packed.transformers import TOKENS


@pytest.fixture(scope="session")
def vit() -> bytes:
    """The demo's ViT with random weights, of which no two are equal."""
    return _converted("vit_digits", 10)


@pytest.fixture(scope="session")
def bert() -> bytes:
    """A BERT of two blocks with random weights, for 12 of 90 tokens."""
    sizes = {"vocabulary": 90, "sequence_length": TOKENS, "width": 64, "depth": 2, "heads": 4, "mlp": 128}
    return _converted("bert_base", 3, **sizes)


@pytest.fixture(scope="session")
def sentences() -> list[dict[str, np.ndarray]]:
    """48 random sentences of 3 to 12 tokens for `bert`; some tokens are more frequent than others."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, TOKENS + 1, 48)
    ids = np.minimum(rng.geometric(0.05, (48, TOKENS)), 89)
    masks = np.arange(TOKENS) < lengths[:, None]
    zeros = np.zeros(TOKENS, np.int32)
    return [
        {"token_ids": (one * mask).astype(np.int32), "padding_mask": mask.astype(np.int32), "segment_ids": zeros}
        for one, mask in zip(ids, masks, strict=True)
    ]


def _converted(preset: str, classes: int, **sizes: int) -> bytes:
    """The float file of a model with random weights, large enough for peaked attention."""
    from tfcompress.export.converter import convert
    from tfcompress.models import presets

    model, rng = presets.build(preset, classes, **sizes), np.random.default_rng(0)
    for weights in model.weights:
        size = 1.5 * weights.shape[-2] ** -0.5 if len(weights.shape) > 1 else 0.1
        weights.assign(rng.normal(0, size, weights.shape) + ("gamma" in weights.name))
    return convert(model, "float32")
