"""Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) and DeiT (Touvron et al., arXiv 2012.12877).

They are built from layers that tfmot supports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.layers import ClassToken, PositionEmbedding, ScaledDotProductAttention

layers = tf_keras.layers


@dataclass(frozen=True)
class ViTConfig:
    """The architecture of a Vision Transformer. Sizes are in pixels, widths in features.

    Attributes:
        image_size: side of the square input image.
        patch_size: side of a square patch; must divide `image_size`.
        width: width of the hidden states.
        depth: number of encoder blocks.
        heads: attention heads per block; must divide `width`.
        mlp_ratio: width inside the feed-forward networks, as a multiple of `width`.
        mean, std: per channel, of images in [0, 1]; they are folded into the patch embedding.
        distilled: whether DeiT's distillation token follows the class token. The head reads only the class token, as
            in keras-nlp, unless `two_heads`.
        two_heads: whether the head reads the class token and the distillation token, one after the other. It is then
            the mean of DeiT's two heads.
        epsilon: added to the variance in every LayerNormalization; Hugging Face's ViTs have 1e-12.
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
    two_heads: bool = False


def vit(config: ViTConfig, classes: int, dropout: float = 0.0, name: str = "vit") -> tf_keras.Model:
    """Builds a functional ViT from float32 RGB images `(batch, size, size, 3)` in [0, 1] to logits `(batch, classes)`.

    Patches are embedded by Reshape, Permute and a `Dense` layer. This equals the usual strided convolution, but tfmot
    quantizes a Dense kernel per tensor, so clusters survive. `config.mean` and `config.std` are folded into the patch
    embedding, so the model always takes images in [0, 1].

    Raises:
        UserError: if the patch size does not divide the image size.
    """
    side = config.image_size // config.patch_size
    if side * config.patch_size != config.image_size:
        raise UserError(
            f"image size {config.image_size} is not a multiple of patch size {config.patch_size}; choose sizes that "
            "divide"
        )
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
    read = 2 if config.two_heads else 1
    x = layers.Cropping1D((0, x.shape[1] - read), name="take_class_token")(x)
    x = layers.Reshape((read * config.width,), name="features")(x)
    model = tf_keras.Model(image, layers.Dense(classes, name="head")(x), name=name)
    if config.mean is not None and config.std is not None:
        fold_normalization(model, config.mean, config.std)
    return model


def patchify(
    image: tf_keras.KerasTensor, patch: int, width: int, name: str, use_bias: bool = True
) -> tf_keras.KerasTensor:
    """Cuts `(batch, rows * patch, columns * patch, channels)` into patches and embeds each with a `Dense` layer.

    Patches are in row-major order. The kernel, `(patch * patch * channels, width)`, is a reshaped kernel of a strided
    Conv2D, `(patch, patch, channels, width)`.

    Returns:
        `(batch, rows * columns, width)`.
    """
    x = image
    for layer in cutters(image.shape, patch, lambda part: f"{name}_{part}"):
        x = layer(x)
    return layers.Dense(width, use_bias=use_bias, name=name)(x)


def cutters(
    image: Sequence[int | None], patch: int, name: Callable[[str], str], grid: bool = False
) -> list[tf_keras.layers.Layer]:
    """Returns layers without weights that cut images into patches, which are in row-major order.

    Args:
        image: the shape `(batch, rows * patch, columns * patch, channels)`.
        patch: side of a patch.
        name: gives a layer its name by what it does: `split`, `permute` or `join`.
        grid: whether they return `(batch, rows, columns, patch * patch * channels)` instead of
            `(batch, rows * columns, patch * patch * channels)`.
    """
    height, width, channels = (side or 0 for side in image[1:])
    rows, columns = height // patch, width // patch
    places = (rows, columns) if grid else (rows * columns,)
    return [
        layers.Reshape((rows, patch, columns, patch * channels), name=name("split")),
        layers.Permute((1, 3, 2, 4), name=name("permute")),
        layers.Reshape((*places, patch * patch * channels), name=name("join")),
    ]


def fold_normalization(model: tf_keras.Model, mean: Sequence[float], std: Sequence[float]) -> None:
    """Folds `(image - mean) / std`, per channel, into the patch embedding in place.

    A model that took normalized images takes images in [0, 1] afterwards.
    """
    layer = model.get_layer("patch_embedding")
    kernel, bias = layer.get_weights()
    repeats = len(kernel) // 3
    scaled = kernel / np.tile(np.asarray(std, np.float32), repeats)[:, None]
    layer.set_weights([scaled, bias - np.tile(np.asarray(mean, np.float32), repeats) @ scaled])


def _block(x: tf_keras.KerasTensor, config: ViTConfig, dropout: float, name: str) -> tf_keras.KerasTensor:
    """Adds a pre-norm encoder block to `(batch, tokens, width)`."""
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
