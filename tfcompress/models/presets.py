"""The models that a recipe can name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.baselines import MobileBertConfig, mobilebert
from tfcompress.models.bert import BertConfig, Pooling, bert
from tfcompress.models.vit import ViTConfig, vit

Config = ViTConfig | BertConfig | MobileBertConfig

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_WORDS = 30522  # of BERT's uncased English vocabulary

_DEIT_TINY = ViTConfig(224, 16, width=192, depth=12, heads=3, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
_VIT_BASE = ViTConfig(224, 16, width=768, depth=12, heads=12, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_BERT_BASE = BertConfig(_WORDS, 128, width=768, depth=12, heads=12, mlp=3072)

VIT_PRESETS = {
    "vit_digits": ViTConfig(image_size=8, patch_size=2, width=64, depth=3, heads=4),
    "vit_fashion_mnist": ViTConfig(image_size=28, patch_size=7, width=64, depth=4, heads=4),
    "deit_tiny": _DEIT_TINY,
    "deit_tiny_distilled": replace(_DEIT_TINY, distilled=True),
    "deit_small": replace(_DEIT_TINY, width=384, heads=6),
    "vit_base": _VIT_BASE,
    "vit_half": replace(_VIT_BASE, width=384, heads=6),
}

TEXT_PRESETS: dict[str, BertConfig | MobileBertConfig] = {
    "bert_tiny_trec": BertConfig(8000, 32, width=128, depth=4, heads=4, mlp=512),
    "bert_small": BertConfig(_WORDS, 128, width=512, depth=4, heads=8, mlp=2048),
    "bert_half": replace(_BERT_BASE, width=384, heads=6, mlp=1536),
    "bert_base": _BERT_BASE,
    "minilm_l6": BertConfig(_WORDS, 128, width=384, depth=6, heads=12, mlp=1536),
    "distilbert": replace(_BERT_BASE, depth=6, segments=0, pooling="relu"),
    "mobilebert": MobileBertConfig(),
}

PRESETS: dict[str, Config] = {**VIT_PRESETS, **TEXT_PRESETS}


def preset(name: str) -> Config:
    """Returns the shape of a preset; an unknown name is a `UserError` that lists the known ones."""
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


def build(name: str, classes: int, dropout: float = 0.0, **changes: Any) -> tf_keras.Model:
    """Builds the preset with fresh weights and a head of `classes` logits.

    Args:
        name: of the preset.
        classes: logits of the head.
        dropout: share dropped while training.
        **changes: fields of the preset's config with other values, such as `vocabulary` or `sequence_length`.

    Raises:
        UserError: an unknown preset or field, or values that fit no model.
    """
    config = preset(name)
    known = [field.name for field in fields(config)]
    for change in changes:
        if change not in known:
            raise UserError(f"preset {name} has no {change!r}; what can be changed is {', '.join(known)}")
    return from_config(replace(config, **changes), classes, dropout, name)


def from_config(config: Config, classes: int, dropout: float = 0.0, name: str = "model") -> tf_keras.Model:
    """Builds the model of a config with fresh weights.

    Raises:
        UserError: heads that do not divide the width they share, or an unknown pooling.
    """
    shared = config.bottleneck if isinstance(config, MobileBertConfig) else config.width
    if shared % config.heads:
        raise UserError(f"{name}: {config.heads} heads do not divide {shared} features; choose a divisor")
    if isinstance(config, ViTConfig):
        return vit(config, classes, dropout, name)
    if config.pooling not in get_args(Pooling):
        raise UserError(f"{name}: unknown pooling {config.pooling!r}; it is one of {', '.join(get_args(Pooling))}")
    if isinstance(config, BertConfig):
        return bert(config, classes, dropout, name)
    return mobilebert(config, classes, dropout, name)
