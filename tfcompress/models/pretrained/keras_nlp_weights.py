"""Maps the configs and weights of keras-nlp's BERT, DistilBERT, ViT and DeiT (Keras 3) to ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig
from tfcompress.models.pretrained.checkpoint import Array
from tfcompress.models.vit import ViTConfig

if TYPE_CHECKING:
    from keras import KerasTensor, Variable
    from keras.layers import Layer
    from keras_nlp.models import Backbone, Task

_ATTENTION = {"query": "query_dense", "key": "key_dense", "value": "value_dense", "output": "output_dense"}
_TEXT_BLOCK = {
    "norm1": "_self_attention_layer_norm",
    "mlp1": "_feedforward_intermediate_dense",
    "mlp2": "_feedforward_output_dense",
    "norm2": "_feedforward_layer_norm",
}


def text_weights(
    backbone: Backbone, classifier: Task | None, length: int, name: str
) -> tuple[BertConfig, dict[str, list[Array]]]:
    """Returns the config of a BERT or DistilBERT, and its weights by our layer names.

    Args:
        backbone: a `BertBackbone` or `DistilBertBackbone`.
        classifier: the model that contains it, whose head is read too, or None.
        length: sequence length in tokens; the position embedding is truncated to it.
        name: name of the model in errors.

    Raises:
        UserError: if the activation is not GELU.
    """
    first = backbone.transformer_layers[0]
    segments = getattr(backbone, "num_segments", 0)  # DistilBERT has no segments
    config = BertConfig(
        vocabulary=backbone.vocabulary_size,
        sequence_length=length,
        width=backbone.hidden_dim,
        depth=backbone.num_layers,
        heads=backbone.num_heads,
        mlp=backbone.intermediate_dim,
        segments=segments,
        epsilon=first.layer_norm_epsilon,
        exact_gelu=_is_exact_gelu(first.activation, name),
        pooling="tanh" if segments else "relu",
    )
    positions = (backbone if segments else backbone.embeddings).position_embedding.position_embeddings
    weights = {
        "token_embedding": [as_numpy(backbone.token_embedding.embeddings)],
        "position_embedding": [as_numpy(positions)[None, :length]],
        "embedding_norm": _norm(backbone.embeddings_layer_norm),
    }
    if segments:
        weights["segment_embedding"] = [as_numpy(backbone.segment_embedding.embeddings)]
        weights["pooler"] = _dense(backbone.pooled_dense)
    if classifier is not None:
        weights["head"] = _dense(classifier.output_dense)
        if not segments:
            weights["pooler"] = _dense(classifier.pooled_dense)
    for block, layer in enumerate(backbone.transformer_layers):
        weights |= _attention(layer._self_attention_layer, config.width, f"block_{block}")
        for ours, theirs in _TEXT_BLOCK.items():
            read = _norm if "norm" in ours else _dense
            weights[f"block_{block}_{ours}"] = read(getattr(layer, theirs))
    return config, weights


def image_weights(backbone: Backbone, classifier: Task | None, name: str) -> tuple[ViTConfig, dict[str, list[Array]]]:
    """Returns the config of a ViT or DeiT, and its weights by our layer names; see `text_weights`.

    Raises:
        UserError: if the model has parts that ours lacks.
    """
    _, embedding, encoder = backbone.layers
    distilled = hasattr(embedding, "distillation_token")
    mlp = backbone.intermediate_dim if distilled else backbone.mlp_dim
    _check_image_parts(backbone, classifier, mlp, name)
    config = ViTConfig(
        image_size=backbone.image_shape[0],
        patch_size=backbone.patch_size[0],
        width=backbone.hidden_dim,
        depth=backbone.num_layers,
        heads=backbone.num_heads,
        mlp_ratio=mlp // backbone.hidden_dim,
        distilled=distilled,
        epsilon=backbone.layer_norm_epsilon,
    )
    positions = getattr(embedding.position_embedding, "embeddings", embedding.position_embedding)
    weights = {
        "patch_embedding": _dense(embedding.patch_embedding),
        "class_token": [as_numpy(embedding.class_token)],
        "position_embedding": [as_numpy(positions).reshape(1, -1, config.width)],
        "norm": _norm(encoder.layer_norm),
    }
    if distilled:
        weights["distillation_token"] = [as_numpy(embedding.distillation_token)]
    if classifier is not None:
        weights["head"] = _dense(classifier.output_dense)
    for block, layer in enumerate(encoder.encoder_layers):
        weights |= _attention(layer.mha, config.width, f"block_{block}")
        weights[f"block_{block}_norm1"] = _norm(layer.layer_norm_1)
        weights[f"block_{block}_norm2"] = _norm(layer.layer_norm_2)
        weights[f"block_{block}_mlp1"] = _dense(layer.mlp.dense if distilled else layer.mlp.dense_1)
        weights[f"block_{block}_mlp2"] = _dense(layer.output_layer.dense if distilled else layer.mlp.dense_2)
    return config, weights


def _check_image_parts(backbone: Backbone, classifier: Task | None, mlp: int, name: str) -> None:
    """Refuses parts that image models of keras-nlp can have and ours lack."""
    height, width, channels = backbone.image_shape
    pooling = getattr(classifier, "pooling", "token")
    intermediate = getattr(classifier, "intermediate_dim", None)
    for given, fits, accepted in (
        (f"images of {tuple(backbone.image_shape)}", height == width and channels == 3, "square RGB, channels last"),
        (f"patches of {tuple(backbone.patch_size)}", len(set(backbone.patch_size)) == 1, "square patches"),
        ("no class token", getattr(backbone, "use_class_token", True), "one class token"),
        (
            f"feed-forward networks of width {mlp}",
            not mlp % backbone.hidden_dim,
            f"a multiple of {backbone.hidden_dim}",
        ),
        (f"the pooling {pooling}", pooling == "token", "token"),
        (f"intermediate_dim {intermediate}", intermediate is None, "a classifier without it"),
    ):
        if not fits:
            raise UserError(f"{name} has {given}; accepted is {accepted}")


def _is_exact_gelu(activation: object, name: str) -> bool:
    found: str = getattr(activation, "__name__", type(activation).__name__)
    if found not in ("gelu", "gelu_approximate"):
        raise UserError(f"{name} has the activation {found}; accepted are exact and approximate GELU")
    return found == "gelu"


def _attention(layer: Layer, width: int, prefix: str) -> dict[str, list[Array]]:
    return {f"{prefix}_{ours}": _dense(getattr(layer, theirs), width) for ours, theirs in _ATTENTION.items()}


def _dense(layer: Layer, outputs: int | None = None) -> list[Array]:
    """Returns the kernel as `(inputs, outputs)`, whatever its rank, and the bias (zeros if there is none)."""
    kernel = as_numpy(layer.kernel)
    outputs = outputs or kernel.shape[-1]
    bias = np.zeros(outputs, np.float32) if layer.bias is None else as_numpy(layer.bias)
    return [kernel.reshape(-1, outputs), bias.reshape(-1)]


def _norm(layer: Layer) -> list[Array]:
    return [as_numpy(layer.gamma), as_numpy(layer.beta)]


def as_numpy(value: KerasTensor | Variable) -> Array:
    """Returns a Keras 3 tensor or variable of any backend as a float32 array."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(value), np.float32)
