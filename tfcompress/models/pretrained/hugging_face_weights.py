"""Reads the weights of an encoder in Hugging Face's layout by name, and maps those of ViT and DeiT to ours.

The names of tensors are those of the `transformers` package; its weight matrices are `(outputs, inputs)`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfcompress.errors import UserError
from tfcompress.models.pretrained.checkpoint import Array
from tfcompress.models.pretrained.hugging_face_config import IMAGE_TYPES, ImageSettings, image_config
from tfcompress.models.vit import ViTConfig

_TEXT_ANCHOR, _IMAGE_ANCHOR = "embeddings.word_embeddings.weight", "embeddings.cls_token"
_PROJECTIONS = ("query.weight", "key.weight", "value.weight")
_PREFIXES = {"xlm-roberta": "roberta", "camembert": "roberta"}
"""What the names in the encoder begin with, where it is not the type of model."""

_VIT_BLOCK = {
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "output": "attention.output.dense",
    "norm1": "layernorm_before",
    "mlp1": "intermediate.dense",
    "mlp2": "output.dense",
    "norm2": "layernorm_after",
}


class Entries(dict[str, Array]):
    """The tensors of a file by name; a missing one raises a `UserError`, and `used` records which ones were read."""

    def __init__(self, entries: Mapping[str, Array], where: str) -> None:
        super().__init__(entries)
        self.where = where
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        if name not in self:
            raise UserError(f"{self.where} has no {name}; use a complete checkpoint of the type that config.json names")
        self.used.add(name)
        return super().__getitem__(name)


def encoder_names(tensors: Mapping[str, Array], kind: str, where: str) -> Entries:
    """Returns the tensors by the names that they have in an encoder without a head.

    The prefix of the encoder is what stands before the name of its embedding: `bert.`, or that of a user's own module.

    Raises:
        UserError: there is no encoder of this type, or more than one.
    """
    anchor = _IMAGE_ANCHOR if kind in IMAGE_TYPES else _TEXT_ANCHOR
    prefixes = [name.removesuffix(anchor) for name in tensors if name.endswith(anchor)]
    if len(prefixes) > 1:
        raise UserError(f"{where} has {len(prefixes)} encoders, {', '.join(prefixes)}; use a checkpoint with one")
    if not prefixes:
        raise UserError(f"{where} has no {anchor}; use a complete checkpoint of the type that config.json names")
    prefix = prefixes[0]
    outer = prefix.removesuffix(f"{_PREFIXES.get(kind, kind)}.")
    found = {}
    for name, array in tensors.items():
        inner = name.removeprefix(prefix) if name.startswith(prefix) else name.removeprefix(outer)
        # Checkpoints that were converted from TensorFlow have its names.
        inner = inner.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        found[inner] = array
    return Entries(found, where)


def image_weights(
    settings: ImageSettings, kind: str, tensors: Entries, source: str
) -> tuple[ViTConfig, dict[str, list[Array]]]:
    """Returns the config of a ViT or DeiT, and its weights by our layer names.

    For the rest see `hugging_face_text.text_weights`.
    """
    config = image_config(settings, kind, source)
    patches, positions = "embeddings.patch_embeddings.projection", "embeddings.position_embeddings"
    tokens = (config.image_size // config.patch_size) ** 2 + (2 if config.distilled else 1)
    shapes = {
        f"{patches}.weight": (config.width, 3, config.patch_size, config.patch_size),
        positions: (1, tokens, config.width),
        f"encoder.layer.0.{_VIT_BLOCK['mlp1']}.weight": (settings.intermediate_size, config.width),
    }
    check_shapes(tensors, shapes, source)
    kernel = tensors[f"{patches}.weight"].transpose(2, 3, 1, 0).reshape(-1, config.width)
    weights = {
        "patch_embedding": [kernel, tensors[f"{patches}.bias"]],
        "class_token": [tensors["embeddings.cls_token"]],
        "position_embedding": [tensors[positions]],
        "norm": norm_weights(tensors, "layernorm"),
    }
    if config.distilled:
        weights["distillation_token"] = [tensors["embeddings.distillation_token"]]
    if not settings.qkv_bias:
        names = [name.removesuffix("weight") for name in tensors if name.endswith(_PROJECTIONS)]
        tensors.update({f"{name}bias": np.zeros(config.width, np.float32) for name in names})
    weights |= block_weights(tensors, "encoder.layer", config.depth, _VIT_BLOCK)
    check_all_used(tensors)
    return config, weights


def check_shapes(tensors: Entries, expected: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Checks the tensors that show all sizes, before a model of these sizes is built."""
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise UserError(
                f"{source}: {name} has the shape {tensors[name].shape}, but config.json says {shape}; use a checkpoint "
                "whose files belong together"
            )


def block_weights(tensors: Entries, prefix: str, depth: int, parts: Mapping[str, str]) -> dict[str, list[Array]]:
    """Returns the weights of all blocks by our layer names, given those of the tensors by ours in one block."""
    return {
        f"block_{block}_{ours}": (norm_weights if "norm" in ours else dense_weights)(
            tensors, f"{prefix}.{block}.{theirs}"
        )
        for block in range(depth)
        for ours, theirs in parts.items()
    }


def dense_weights(tensors: Entries, name: str) -> list[Array]:
    """Returns the kernel `(inputs, outputs)` and the bias of a Dense layer."""
    return [tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]]


def norm_weights(tensors: Entries, name: str) -> list[Array]:
    """Returns gamma and beta of a LayerNorm or NoNorm."""
    return [tensors[f"{name}.weight"], tensors[f"{name}.bias"]]


def check_all_used(tensors: Entries) -> None:
    """Refuses an encoder with weights that do not belong to the model in config.json, such as further blocks."""
    for name in tensors:
        in_encoder = name.startswith(("embeddings.", "embeddings_project.", "encoder.", "transformer."))
        if in_encoder and name not in tensors.used and not name.endswith(("_ids", "mask_token")):
            raise UserError(
                f"{tensors.where} has {name}, but the model in its config.json does not; use a checkpoint whose files "
                "belong together"
            )
