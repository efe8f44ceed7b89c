"""Maps the weights of Hugging Face's BERT, DistilBERT, ViT and DeiT to ours.

The names of tensors are those of the `transformers` package; its weight matrices are `(outputs, inputs)`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig
from tfcompress.models.pretrained.checkpoint import Array
from tfcompress.models.pretrained.hugging_face_config import (
    IMAGE_TYPES,
    ImageSettings,
    TextSettings,
    image_config,
    own_pooling,
    text_config,
)
from tfcompress.models.vit import ViTConfig

_TEXT_ANCHOR, _IMAGE_ANCHOR = "embeddings.word_embeddings.weight", "embeddings.cls_token"
_PROJECTIONS = ("query.weight", "key.weight", "value.weight")
_BERT_BLOCK = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "mlp1": "intermediate.dense",
    "mlp2": "output.dense",
    "norm2": "output.LayerNorm",
}
_DISTILBERT_BLOCK = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "output": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "mlp1": "ffn.lin1",
    "mlp2": "ffn.lin2",
    "norm2": "output_layer_norm",
}
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
    outer = prefix.removesuffix(f"{kind}.")
    found = {}
    for name, array in tensors.items():
        inner = name.removeprefix(prefix) if name.startswith(prefix) else name.removeprefix(outer)
        # Checkpoints that were converted from TensorFlow have its names.
        inner = inner.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        found[inner] = array
    return Entries(found, where)


def text_weights(
    settings: TextSettings, kind: str, tensors: Entries, source: str, length: int, pooling: str | None
) -> tuple[BertConfig, dict[str, list[Array]]]:
    """Returns the config of a BERT or DistilBERT, and its weights by our layer names.

    Args:
        settings: of config.json.
        kind: the type of model.
        tensors: of `encoder_names`.
        source: name of the checkpoint in errors.
        length: sequence length in tokens; the position embedding is truncated to it.
        pooling: see `BertConfig`; with another pooling than the type's own, the pooler is left out.

    Raises:
        UserError: a tensor is missing, or the tensors do not match the settings.
    """
    config = text_config(settings, kind, length, pooling)
    distil = kind == "distilbert"
    prefix, parts = ("transformer", _DISTILBERT_BLOCK) if distil else ("encoder", _BERT_BLOCK)
    words, positions = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
    shapes = {
        words: (config.vocabulary, config.width),
        positions: (settings.max_position_embeddings, config.width),
        f"{prefix}.layer.0.{parts['mlp1']}.weight": (config.mlp, config.width),
    }
    _check_shapes(tensors, shapes, source)
    weights = {
        "token_embedding": [tensors[words]],
        "position_embedding": [tensors[positions][None, :length]],
        "embedding_norm": _norm(tensors, "embeddings.LayerNorm"),
    }
    if config.segments:
        weights["segment_embedding"] = [tensors["embeddings.token_type_embeddings.weight"]]
    weights |= _blocks(tensors, f"{prefix}.layer", config.depth, parts)
    pooler = "pre_classifier" if distil else "pooler.dense"
    if config.pooling == own_pooling(kind) and f"{pooler}.weight" in tensors:
        weights["pooler"] = _dense(tensors, pooler)
    _check_all_used(tensors)
    return config, weights


def image_weights(
    settings: ImageSettings, kind: str, tensors: Entries, source: str
) -> tuple[ViTConfig, dict[str, list[Array]]]:
    """Returns the config of a ViT or DeiT, and its weights by our layer names; for the rest see `text_weights`."""
    config = image_config(settings, kind, source)
    patches, positions = "embeddings.patch_embeddings.projection", "embeddings.position_embeddings"
    tokens = (config.image_size // config.patch_size) ** 2 + (2 if config.distilled else 1)
    shapes = {
        f"{patches}.weight": (config.width, 3, config.patch_size, config.patch_size),
        positions: (1, tokens, config.width),
        f"encoder.layer.0.{_VIT_BLOCK['mlp1']}.weight": (settings.intermediate_size, config.width),
    }
    _check_shapes(tensors, shapes, source)
    kernel = tensors[f"{patches}.weight"].transpose(2, 3, 1, 0).reshape(-1, config.width)
    weights = {
        "patch_embedding": [kernel, tensors[f"{patches}.bias"]],
        "class_token": [tensors["embeddings.cls_token"]],
        "position_embedding": [tensors[positions]],
        "norm": _norm(tensors, "layernorm"),
    }
    if config.distilled:
        weights["distillation_token"] = [tensors["embeddings.distillation_token"]]
    if not settings.qkv_bias:
        names = [name.removesuffix("weight") for name in tensors if name.endswith(_PROJECTIONS)]
        tensors.update({f"{name}bias": np.zeros(config.width, np.float32) for name in names})
    weights |= _blocks(tensors, "encoder.layer", config.depth, _VIT_BLOCK)
    _check_all_used(tensors)
    return config, weights


def _check_shapes(tensors: Entries, expected: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Checks the tensors that show all sizes, before a model of these sizes is built."""
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise UserError(
                f"{source}: {name} has the shape {tensors[name].shape}, but config.json says {shape}; use a checkpoint "
                "whose files belong together"
            )


def _blocks(tensors: Entries, prefix: str, depth: int, parts: Mapping[str, str]) -> dict[str, list[Array]]:
    return {
        f"block_{block}_{ours}": (_norm if "norm" in ours else _dense)(tensors, f"{prefix}.{block}.{theirs}")
        for block in range(depth)
        for ours, theirs in parts.items()
    }


def _dense(tensors: Entries, name: str) -> list[Array]:
    return [tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]]


def _norm(tensors: Entries, name: str) -> list[Array]:
    return [tensors[f"{name}.weight"], tensors[f"{name}.bias"]]


def _check_all_used(tensors: Entries) -> None:
    """Refuses an encoder with weights that do not belong to the model in config.json, such as further blocks."""
    for name in tensors:
        in_encoder = name.startswith(("embeddings.", "encoder.", "transformer."))
        if in_encoder and name not in tensors.used and not name.endswith(("_ids", "mask_token")):
            raise UserError(
                f"{tensors.where} has {name}, but the model in its config.json does not; use a checkpoint whose files "
                "belong together"
            )
