"""The presets: model architectures that a recipe can name."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig, Pooling, bert
from tfcompress.models.mobilebert import MobileBertConfig, mobilebert
from tfcompress.models.vit import ViTConfig, vit

Config = ViTConfig | BertConfig | MobileBertConfig

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BERT_VOCABULARY = 30522  # tokens in BERT's uncased English vocabulary

_DEIT_TINY = ViTConfig(224, 16, width=192, depth=12, heads=3, mean=_IMAGENET_MEAN, std=_IMAGENET_STD)
_VIT_BASE = ViTConfig(224, 16, width=768, depth=12, heads=12, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_BERT_BASE = BertConfig(_BERT_VOCABULARY, 128, width=768, depth=12, heads=12, mlp=3072)

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
    "bert_small": BertConfig(_BERT_VOCABULARY, 128, width=512, depth=4, heads=8, mlp=2048),
    "bert_half": replace(_BERT_BASE, width=384, heads=6, mlp=1536),
    "bert_base": _BERT_BASE,
    "minilm_l6": BertConfig(_BERT_VOCABULARY, 128, width=384, depth=6, heads=12, mlp=1536),
    "distilbert": replace(_BERT_BASE, depth=6, segments=0, pooling="relu"),
    "mobilebert": MobileBertConfig(),
}

PRESETS: dict[str, Config] = {**VIT_PRESETS, **TEXT_PRESETS}


def preset(name: str) -> Config:
    """Returns the architecture of a preset; raises a `UserError` that lists the presets if the name is unknown."""
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


def build(name: str, classes: int, dropout: float = 0.0, **changes: Any) -> tf_keras.Model:
    """Builds a preset with random weights.

    Args:
        name: name of the preset.
        classes: number of classes.
        dropout: dropout rate during training.
        **changes: fields of the preset's config to replace, such as `vocabulary` or `sequence_length`.

    Raises:
        UserError: if the preset or a field is unknown, or the values do not fit together.
    """
    config = preset(name)
    known = [field.name for field in fields(config)]
    for change in changes:
        if change not in known:
            raise UserError(f"preset {name} has no field {change!r}; its fields are {', '.join(known)}")
    return from_config(replace(config, **changes), classes, dropout, name)


def from_config(config: Config, classes: int, dropout: float = 0.0, name: str = "model") -> tf_keras.Model:
    """Builds a model from a config with random weights.

    Raises:
        UserError: if the heads do not divide the width that they share, or the pooling is unknown.
    """
    shared = config.bottleneck if isinstance(config, MobileBertConfig) else config.width
    if shared % config.heads:
        raise UserError(f"{name}: {config.heads} heads do not divide {shared} features; choose a divisor")
    if isinstance(config, ViTConfig):
        return vit(config, classes, dropout, name)
    if config.pooling not in get_args(Pooling):
        raise UserError(f"{name}: unknown pooling {config.pooling!r}; accepted are {', '.join(get_args(Pooling))}")
    if isinstance(config, BertConfig):
        return bert(config, classes, dropout, name)
    return mobilebert(config, classes, dropout, name)
