import numpy as np
import pytest
import tf_keras

from tests.answers import answers
from tfcompress.models.presets import VIT_PRESETS, build
from tfcompress.models.vit import ViTConfig, fold_normalization, vit

from ..tiny import tiny_vit_of


@pytest.mark.parametrize(
    ("name", "parameters"), [("deit_tiny", 5_717_416), ("deit_small", 22_050_664), ("vit_base", 86_567_656)]
)
def test_presets_have_their_published_sizes(name, parameters):
    assert build(name, 1000).count_params() == parameters


@pytest.mark.parametrize("name", ["vit_digits", "vit_fashion_mnist"])
def test_small_presets_output_logits(name):
    size = VIT_PRESETS[name].image_size
    logits = answers(build(name, 10), np.random.default_rng(0).random((2, size, size, 3), np.float32))
    assert logits.shape == (2, 10)
    assert np.isfinite(logits).all()


def test_normalization_is_folded_into_the_patch_embedding(tiny_vit, images):
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    folded = tiny_vit_of(tiny_vit.get_weights())
    fold_normalization(folded, mean, std)
    expected = answers(tiny_vit, (images - np.float32(mean)) / np.float32(std))
    np.testing.assert_allclose(answers(folded, images), expected, atol=1e-4)


def test_a_model_with_normalization_is_built_with_it_folded():
    plain, folded = ViTConfig(8, 4, 16, 1, 2), ViTConfig(8, 4, 16, 1, 2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    kernels = []
    for config in (plain, folded):
        tf_keras.utils.set_random_seed(0)
        kernels.append(vit(config, 10).get_layer("patch_embedding").get_weights()[0])
    np.testing.assert_allclose(kernels[1], kernels[0] * 2, rtol=1e-6)
