"""The models that a recipe can name."""

from __future__ import annotations

import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.vit import ViTConfig, vit

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

VIT_PRESETS = {
    "vit_digits": ViTConfig(image_size=8, patch_size=2, width=64, depth=3, heads=4),
    "vit_fashion_mnist": ViTConfig(image_size=28, patch_size=7, width=64, depth=4, heads=4),
    "deit_tiny": ViTConfig(224, 16, width=192, depth=12, heads=3, mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
    "deit_small": ViTConfig(224, 16, width=384, depth=12, heads=6, mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
    "vit_base": ViTConfig(224, 16, width=768, depth=12, heads=12, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
}


def preset(name: str) -> ViTConfig:
    """Returns the shape of a preset; an unknown name is a `UserError` that lists the known ones."""
    if name not in VIT_PRESETS:
        raise UserError(f"unknown preset {name!r}; the presets are {', '.join(VIT_PRESETS)}")
    return VIT_PRESETS[name]


def build(name: str, classes: int, dropout: float = 0.0) -> tf_keras.Model:
    """Builds the preset with fresh weights and a head of `classes` logits."""
    return vit(preset(name), classes, dropout, name)
