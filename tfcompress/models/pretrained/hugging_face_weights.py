"""Maps the configs and weights of Hugging Face's BERT, DistilBERT and ViT to ours.

The names of tensors and settings are those of the `transformers` package; its weight matrices are `(outputs, inputs)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig, Pooling
from tfcompress.models.pretrained.checkpoint import Array
from tfcompress.models.vit import ViTConfig

_BERT_CONFIG = {
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp": "intermediate_size",
}
_DISTILBERT_CONFIG = {"width": "dim", "depth": "n_layers", "heads": "n_heads", "mlp": "hidden_dim"}

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
_GELUS = {"gelu": True, "gelu_new": False, "gelu_pytorch_tanh": False, "gelu_fast": False}
"""Whether each accepted activation is the exact GELU or its tanh approximation."""


class Entries(dict[str, Any]):
    """The named entries of a file; a missing one raises a `UserError`, and `used` records which ones were read."""

    def __init__(self, entries: Mapping[str, Any], where: str) -> None:
        super().__init__(entries)
        self.where = where
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise UserError(f"{self.where} has no {name}; use a complete checkpoint of the type that config.json names")
        self.used.add(name)
        return super().__getitem__(name)


def text_weights(
    config: Entries, tensors: Entries, source: str, length: int, pooling: str | None
) -> tuple[BertConfig, dict[str, list[Array]]]:
    """Returns the config of a BERT or DistilBERT, and its weights by our layer names.

    Args:
        config: content of config.json.
        tensors: tensors by the names that they have in an encoder without a head.
        source: name of the checkpoint in errors.
        length: sequence length in tokens; the position embedding is truncated to it.
        pooling: see `BertConfig`; with another pooling than the type's own, the pooler and head are left out.

    Raises:
        UserError: if an entry is missing, the activation is not GELU, or the tensors do not match the config.
    """
    distil = config["model_type"] == "distilbert"
    names = _DISTILBERT_CONFIG if distil else _BERT_CONFIG
    own_pooling: Pooling = "relu" if distil else "tanh"
    bert_config = BertConfig(
        vocabulary=config["vocab_size"],
        sequence_length=length,
        **{ours: config[theirs] for ours, theirs in names.items()},
        segments=0 if distil else config["type_vocab_size"],
        epsilon=1e-12 if distil else config["layer_norm_eps"],
        exact_gelu=_is_exact_gelu(config["activation" if distil else "hidden_act"], source),
        pooling=cast(Pooling, pooling or own_pooling),
    )
    table = tensors["embeddings.position_embeddings.weight"]
    if len(table) != config["max_position_embeddings"]:
        raise UserError(
            f"{source}: the position embedding has {len(table)} rows, but config.json says "
            f"{config['max_position_embeddings']}; use a checkpoint whose files belong together"
        )
    weights = {
        "token_embedding": [tensors["embeddings.word_embeddings.weight"]],
        "position_embedding": [table[None, :length]],
        "embedding_norm": _norm(tensors, "embeddings.LayerNorm"),
    }
    if not distil:
        weights["segment_embedding"] = [tensors["embeddings.token_type_embeddings.weight"]]
    prefix, parts = ("transformer", _DISTILBERT_BLOCK) if distil else ("encoder", _BERT_BLOCK)
    weights |= _blocks(tensors, f"{prefix}.layer", bert_config.depth, parts)
    pooler = "pre_classifier" if distil else "pooler.dense"
    if bert_config.pooling == own_pooling and f"{pooler}.weight" in tensors:
        weights |= {"pooler": _dense(tensors, pooler)} | _head(config, tensors)
    _check_all_used(tensors)
    return bert_config, weights


def vit_weights(config: Entries, tensors: Entries, source: str) -> tuple[ViTConfig, dict[str, list[Array]]]:
    """Returns the config of a ViT, and its weights by our layer names; see `text_weights` for arguments and errors."""
    width, mlp = config["hidden_size"], config["intermediate_size"]
    if mlp % width:
        raise UserError(f"{source} has feed-forward networks of width {mlp}; accepted is a multiple of {width}")
    if not _is_exact_gelu(config["hidden_act"], source):
        raise UserError(f"{source} has the activation {config['hidden_act']}; accepted for a ViT is gelu")
    vit_config = ViTConfig(
        image_size=config["image_size"],
        patch_size=config["patch_size"],
        width=width,
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        mlp_ratio=mlp // width,
        epsilon=config["layer_norm_eps"],
    )
    patches = tensors["embeddings.patch_embeddings.projection.weight"]  # (width, channels, rows, columns)
    kernel = patches.transpose(2, 3, 1, 0).reshape(-1, patches.shape[0])
    weights = {
        "patch_embedding": [kernel, tensors["embeddings.patch_embeddings.projection.bias"]],
        "class_token": [tensors["embeddings.cls_token"]],
        "position_embedding": [tensors["embeddings.position_embeddings"]],
        "norm": _norm(tensors, "layernorm"),
    }
    weights |= _blocks(tensors, "encoder.layer", vit_config.depth, _VIT_BLOCK) | _head(config, tensors)
    _check_all_used(tensors)
    return vit_config, weights


def _blocks(tensors: Entries, prefix: str, depth: int, parts: Mapping[str, str]) -> dict[str, list[Array]]:
    return {
        f"block_{block}_{ours}": (_norm if "norm" in ours else _dense)(tensors, f"{prefix}.{block}.{theirs}")
        for block in range(depth)
        for ours, theirs in parts.items()
    }


def _head(config: Entries, tensors: Entries) -> dict[str, list[Array]]:
    """Returns the head if the model classifies whole texts or images; a `classifier` may also classify each token."""
    architectures = config.get("architectures") or ["ForSequenceClassification"]
    if not architectures[0].endswith(("ForSequenceClassification", "ForImageClassification")):
        return {}
    return {"head": _dense(tensors, "classifier")} if "classifier.weight" in tensors else {}


def _dense(tensors: Entries, name: str) -> list[Array]:
    return [tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]]


def _norm(tensors: Entries, name: str) -> list[Array]:
    return [tensors[f"{name}.weight"], tensors[f"{name}.bias"]]


def _is_exact_gelu(activation: str, source: str) -> bool:
    if activation not in _GELUS:
        raise UserError(f"{source} has the activation {activation}; accepted are {', '.join(_GELUS)}")
    return _GELUS[activation]


def _check_all_used(tensors: Entries) -> None:
    """Refuses an encoder with weights that do not belong to the model in config.json, such as further blocks."""
    for name in tensors:
        in_encoder = name.startswith(("embeddings.", "encoder.", "transformer."))
        if in_encoder and name not in tensors.used and not name.endswith(("_ids", "mask_token")):
            raise UserError(
                f"{tensors.where} has {name}, but the model in its config.json does not; use a checkpoint whose files "
                "belong together"
            )
