"""Vision Transformer (Dosovitskiy et al., arXiv 2010.11929; DeiT, arXiv 2012.12877) in the design tfmot accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.layers import ClassToken, PositionEmbedding, ScaledDotProductAttention

layers = tf_keras.layers


@dataclass(frozen=True)
class ViTConfig:
    """The shape of a Vision Transformer. Sizes in pixels, width in features.

    Attributes:
        mlp_ratio: width inside the feed-forward layers, as a multiple of `width`.
        mean, std: per channel of images in [0, 1]; folded into the patch embedding.
        distilled: DeiT's distillation token behind the class token. The head reads the class token alone, as
            keras-nlp's classifier does.
        epsilon: of every LayerNormalization; Hugging Face's ViTs have 1e-12.
    """

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    mlp_ratio: int = 4
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    distilled: bool = False
    epsilon: float = 1e-6


def vit(config: ViTConfig, classes: int, dropout: float = 0.0, name: str = "vit") -> tf_keras.Model:
    """Builds a functional ViT: image `(batch, size, size, 3)` float32 RGB in [0, 1] to logits `(batch, classes)`.

    Patches go through Reshape, Permute and one `Dense`: equal to the usual strided convolution, but quantized per
    tensor by tfmot, so that clusters survive. `config.mean` and `config.std` (per channel, of images in [0, 1]) are
    folded into the initial patch embedding, so that the model always takes plain [0, 1] images.
    """
    side = config.image_size // config.patch_size
    if side * config.patch_size != config.image_size:
        raise UserError(f"image size {config.image_size} is not a multiple of patch size {config.patch_size}")
    image = tf_keras.Input((config.image_size, config.image_size, 3), name="image")
    x = patchify(image, config.patch_size, config.width, "patch_embedding")
    if config.distilled:
        x = ClassToken(name="distillation_token")(x)
    x = ClassToken(name="class_token")(x)
    x = PositionEmbedding(name="position_embedding")(x)
    if dropout:
        x = layers.Dropout(dropout, name="embedding_dropout")(x)
    for block in range(config.depth):
        x = _block(x, config, dropout, f"block_{block}")
    x = layers.LayerNormalization(epsilon=config.epsilon, name="norm")(x)
    x = layers.Cropping1D((0, x.shape[1] - 1), name="take_class_token")(x)
    x = layers.Reshape((config.width,), name="features")(x)
    model = tf_keras.Model(image, layers.Dense(classes, name="head")(x), name=name)
    if config.mean is not None and config.std is not None:
        fold_normalization(model, config.mean, config.std)
    return model


def patchify(
    image: tf_keras.KerasTensor, patch: int, width: int, name: str, use_bias: bool = True
) -> tf_keras.KerasTensor:
    """Cuts `(batch, rows * patch, columns * patch, channels)` into patches, row by row, and embeds each by a `Dense`.

    The kernel `(patch * patch * channels, width)` is the strided Conv2D's `(patch, patch, channels, width)`, reshaped.
    """
    rows, columns, channels = image.shape[1] // patch, image.shape[2] // patch, image.shape[3]
    x = layers.Reshape((rows, patch, columns, patch * channels), name=f"{name}_split")(image)
    x = layers.Permute((1, 3, 2, 4), name=f"{name}_permute")(x)
    x = layers.Reshape((rows * columns, patch * patch * channels), name=f"{name}_join")(x)
    return layers.Dense(width, use_bias=use_bias, name=name)(x)


def fold_normalization(model: tf_keras.Model, mean: Sequence[float], std: Sequence[float]) -> None:
    """Folds `(image - mean) / std` into the patch embedding in place; the model then takes images in [0, 1]."""
    layer = model.get_layer("patch_embedding")
    kernel, bias = layer.get_weights()
    repeats = len(kernel) // 3
    scaled = kernel / np.tile(np.asarray(std, np.float32), repeats)[:, None]
    layer.set_weights([scaled, bias - np.tile(np.asarray(mean, np.float32), repeats) @ scaled])


def _block(x: tf_keras.KerasTensor, config: ViTConfig, dropout: float, name: str) -> tf_keras.KerasTensor:
    """One pre-norm encoder block on `(batch, tokens, width)`."""
    width = config.width
    h = layers.LayerNormalization(epsilon=config.epsilon, name=f"{name}_norm1")(x)
    query, key, value = (layers.Dense(width, name=f"{name}_{part}")(h) for part in ("query", "key", "value"))
    h = ScaledDotProductAttention(config.heads, name=f"{name}_attention")([query, key, value])
    h = layers.Dense(width, name=f"{name}_output")(h)
    if dropout:
        h = layers.Dropout(dropout, name=f"{name}_dropout1")(h)
    x = layers.Add(name=f"{name}_add1")([x, h])
    h = layers.LayerNormalization(epsilon=config.epsilon, name=f"{name}_norm2")(x)
    h = layers.Dense(width * config.mlp_ratio, activation="gelu", name=f"{name}_mlp1")(h)
    h = layers.Dense(width, name=f"{name}_mlp2")(h)
    if dropout:
        h = layers.Dropout(dropout, name=f"{name}_dropout2")(h)
    return layers.Add(name=f"{name}_add2")([x, h])
