import numpy as np
import tf_keras

from tfcompress.models.anatomy import Anatomy
from tfcompress.models.vit import ViTConfig, vit
from tfcompress.optimize.principal import Kept, moments


def test_halved_heads_keep_the_scores_that_lie_in_half_the_directions():
    """Queries and keys of rank 4 in heads of 8 features: the half is enough for the same attention."""
    rng = np.random.default_rng(0)
    model = vit(ViTConfig(image_size=8, patch_size=4, width=24, depth=1, heads=3), 10)
    anatomy = Anatomy(model)
    part = anatomy.attentions[0]
    low = [rng.normal(size=(500, 3, 4)) @ rng.normal(size=(4, 8)) for _ in range(3)]
    query, key, value = (x.reshape(500, 24) for x in low)
    moments = {
        name: (x.mean(0), np.cov(x.T, bias=True))
        for name, x in zip((part.query, part.key, part.value), (query, key, value), strict=True)
    }
    zeros = np.zeros(24), np.eye(24)
    names = [*anatomy.stream, part.attention, *(pair.activated for pair in anatomy.feed_forwards)]
    others = dict.fromkeys(names, zeros) | {"block_0_mlp1": (np.zeros(96), np.ones(96))}
    of_query, of_key, _ = Kept(anatomy, others | moments).heads[part.attention]
    for head in range(3):
        whole, half = slice(head * 8, head * 8 + 8), slice(head * 4, head * 4 + 4)
        scores = query[:, whole] @ key[:, whole].T / 8**0.5
        kept = (query @ of_query)[:, half] @ (key @ of_key)[:, half].T / 4**0.5
        assert abs(scores - kept).max() < 0.02 * abs(scores).max()


def test_moments_are_those_of_all_rows(tiny_vit, images):
    anatomy = Anatomy(tiny_vit)
    chunks = [slice(start, start + 10) for start in range(0, 64, 10)]
    found = moments(anatomy, {"image": images}, chunks, lambda x, _: x.reshape(-1, x.shape[-1]))
    states = tiny_vit.get_layer("position_embedding")
    x = tf_keras.Model(tiny_vit.inputs, states.output)(images).numpy().reshape(-1, 16)
    mean, covariance = found["position_embedding"]
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-5)
    np.testing.assert_allclose(covariance, np.cov(x.T, bias=True), atol=1e-4)
    kept = Kept(anatomy, found)
    np.testing.assert_allclose(kept.basis.T @ np.ones(16), 0, atol=1e-6)  # LayerNorm centres over the features.
    np.testing.assert_allclose(kept.basis @ np.ones(8), 0, atol=1e-6)
