"""Picture classifiers in Keras 3."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tests.user_models.kinds import CLASSES, kind, pictures


class Patches(layers.Layer):
    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = size

    def call(self, images: Any) -> Any:
        batch = ops.shape(images)[0]
        patches = ops.image.extract_patches(images, size=self.size)
        return ops.reshape(patches, (batch, -1, self.size * self.size * images.shape[-1]))


class PatchEncoder(layers.Layer):
    def __init__(self, patches: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.patches = patches
        self.projection = layers.Dense(width)
        self.position = layers.Embedding(patches, width)

    def call(self, patches: Any) -> Any:
        positions = ops.expand_dims(ops.arange(0, self.patches, 1), axis=0)
        return self.projection(patches) + self.position(positions)


class Block(layers.Layer):
    def __init__(self, width: int, heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.norm_1 = layers.LayerNormalization(epsilon=1e-6)
        self.attention = layers.MultiHeadAttention(heads, width // heads, dropout=0.1)
        self.norm_2 = layers.LayerNormalization(epsilon=1e-6)
        self.grow = layers.Dense(2 * width, activation=keras.activations.gelu)
        self.dropout = layers.Dropout(0.1)
        self.shrink = layers.Dense(width)

    def call(self, x: Any, training: bool | None = None) -> Any:
        y = self.norm_1(x)
        x = x + self.attention(y, y, training=training)
        y = self.dropout(self.grow(self.norm_2(x)), training=training)
        return x + self.shrink(y)


class ViT(keras.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.patches = Patches(4)
        self.encoder = PatchEncoder(16, 32)
        self.blocks = [Block(32, 2) for _ in range(2)]
        self.norm = layers.LayerNormalization(epsilon=1e-6)
        self.head = layers.Dense(CLASSES)

    def call(self, images: Any, training: bool | None = None) -> Any:
        x = self.encoder(self.patches(images))
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(ops.mean(self.norm(x), axis=1))


@kind("Keras 3", pictures(16))
def vit_subclassed() -> Any:
    """A subclassed vision transformer of subclassed layers that cut and encode patches."""
    return ViT()


@kind("Keras 3", pictures(16))
def vit_keras_io() -> Any:
    """The keras.io example of image classification with a ViT: a functional model around own layers."""
    inputs = keras.Input((16, 16, 3))
    augmented = keras.Sequential([layers.Rescaling(2.0, -1.0), layers.RandomFlip("horizontal")])(inputs)
    x = PatchEncoder(16, 32)(Patches(4)(augmented))
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.MultiHeadAttention(num_heads=2, key_dim=16, dropout=0.1)(y, y)
        x = layers.Add()([y, x])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        for units in (64, 32):
            y = layers.Dropout(0.1)(layers.Dense(units, activation=keras.activations.gelu)(y))
        x = layers.Add()([y, x])
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Dropout(0.5)(layers.Dense(32, activation="gelu")(x))))


class ClassToken(layers.Layer):
    def build(self, shape: Any) -> None:
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="zeros", name="token")
        self.position = self.add_weight(shape=(1, shape[1] + 1, shape[-1]), initializer="normal", name="position")

    def call(self, x: Any) -> Any:
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1) + self.position


class LayerScale(layers.Layer):
    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")

    def call(self, x: Any) -> Any:
        return x * self.gamma


class DropPath(layers.Layer):
    def __init__(self, rate: float, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        if not training:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        kept = ops.floor(1 - self.rate + keras.random.uniform(shape, seed=self.seeds))
        return x / (1 - self.rate) * kept


@kind("Keras 3", pictures(16))
def vit_with_class_token() -> Any:
    """A port of DeiT III: patches by Conv2D, a class token, LayerScale, DropPath."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 4, strides=4, name="patch_embedding")(inputs)
    x = ClassToken()(layers.Reshape((16, 32))(x))
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = LayerScale()(layers.MultiHeadAttention(2, 16)(y, y))
        x = x + DropPath(0.1)(y)
        y = layers.Dense(64, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = x + DropPath(0.1)(LayerScale()(layers.Dense(32)(y)))
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(x[:, 0]))


class Tokenizer(layers.Layer):
    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.convolutions = keras.Sequential()
        for filters in (16, width):
            self.convolutions.add(layers.Conv2D(filters, 3, padding="same", use_bias=False, activation="relu"))
            self.convolutions.add(layers.ZeroPadding2D(1))
            self.convolutions.add(layers.MaxPooling2D(3, 2, "same"))

    def call(self, images: Any) -> Any:
        x = self.convolutions(images)
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))


class SequencePooling(layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.attention = layers.Dense(1)

    def call(self, x: Any) -> Any:
        weights = ops.transpose(ops.softmax(self.attention(x), axis=1), (0, 2, 1))
        return ops.squeeze(ops.matmul(weights, x), -2)


@kind("Keras 3", pictures(16))
def compact_convolutional_transformer() -> Any:
    """The keras.io example of a CCT: a convolutional tokenizer, stochastic depth, and sequence pooling."""
    inputs = keras.Input((16, 16, 3))
    x = Tokenizer(32)(inputs)
    for rate in (0.0, 0.1):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.MultiHeadAttention(2, 32, dropout=0.1)(y, y)
        x = layers.Add()([DropPath(rate)(y), x])
        y = layers.Dense(64, activation=ops.gelu)(layers.LayerNormalization(epsilon=1e-5)(x))
        x = layers.Add()([DropPath(rate)(layers.Dense(32, activation=ops.gelu)(y)), x])
    x = SequencePooling()(layers.LayerNormalization(epsilon=1e-5)(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def inverted_residual(x: Any, filters: int, strides: int = 1) -> Any:
    y = layers.Conv2D(2 * x.shape[-1], 1, padding="same", use_bias=False)(x)
    y = keras.activations.swish(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(y)
    y = keras.activations.swish(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(filters, 1, padding="same", use_bias=False)(y))
    return layers.Add()([y, x]) if strides == 1 and filters == x.shape[-1] else y


@kind("Keras 3", pictures(32), probabilities=True)
def mobilevit() -> Any:
    """The keras.io example of a MobileViT: inverted residuals around transformers over unfolded patches."""
    inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(scale=1.0 / 0.5, offset=-1.0)(inputs)
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation=keras.activations.swish)(x)
    x = inverted_residual(x, 16)
    x = inverted_residual(x, 24, strides=2)
    local = layers.Conv2D(32, 1, activation=keras.activations.swish, padding="same")(x)
    y = layers.Reshape((4, 16, 32))(local)
    for _ in range(2):
        z = layers.LayerNormalization(epsilon=1e-6)(y)
        y = layers.Add()([layers.MultiHeadAttention(2, 32, dropout=0.1)(z, z), y])
        z = layers.LayerNormalization(epsilon=1e-6)(y)
        z = layers.Dropout(0.1)(layers.Dense(64, activation=keras.activations.swish)(z))
        y = layers.Add()([layers.Dense(32)(z), y])
    folded = layers.Conv2D(24, 1, padding="same", activation="swish")(layers.Reshape((8, 8, 32))(y))
    x = layers.Concatenate(axis=-1)([x, folded])
    x = layers.Conv2D(32, 3, padding="same", activation=keras.activations.swish)(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(layers.GlobalAvgPool2D()(x)))


@kind("Keras 3", pictures(16))
def mlp_mixer() -> Any:
    """The keras.io example of an MLP-Mixer: subclassed layers that transpose tokens and channels."""

    class Mixer(layers.Layer):
        def __init__(self, patches: int, width: int, **options: Any) -> None:
            super().__init__(**options)
            self.tokens = keras.Sequential([layers.Dense(patches, activation="gelu"), layers.Dense(patches)])
            self.channels = keras.Sequential([layers.Dense(64, activation="gelu"), layers.Dense(width)])
            self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]

        def call(self, x: Any) -> Any:
            mixed = self.tokens(ops.transpose(self.norms[0](x), axes=(0, 2, 1)))
            x = x + ops.transpose(mixed, axes=(0, 2, 1))
            return x + self.channels(self.norms[1](x))

    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(32)(layers.Reshape((16, 48))(Patches(4)(inputs)))
    x = keras.Sequential([Mixer(16, 32) for _ in range(2)])(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


@kind("Keras 3", pictures(16, highest=255.0))
def cnn_with_augmentation() -> Any:
    """The keras.io example of image classification from scratch: pixels from 0 to 255, random layers, BatchNorm."""
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
    model.add(layers.Rescaling(1.0 / 255))
    for filters in (16, 32):
        model.add(layers.Conv2D(filters, 3, strides=2, padding="same"))
        model.add(layers.BatchNormalization())
        model.add(layers.Activation("relu"))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dropout(0.25))
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(CLASSES, activation=None))
    return model


@kind("Keras 3", pictures(20, highest=255.0))
def resized_and_normalized() -> Any:
    """Preprocessing inside the model: Resizing, CenterCrop and an adapted Normalization."""
    normalization = layers.Normalization()
    normalization.adapt(pictures(20, 255.0)(np.random.default_rng(3), 8))
    inputs = keras.Input((20, 20, 3))
    x = layers.CenterCrop(12, 12)(layers.Resizing(16, 16)(normalization(inputs)))
    x = layers.Conv2D(32, 3, strides=2, activation="relu")(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


@kind("Keras 3", pictures(16), probabilities=True)
def mixed_precision_cnn() -> Any:
    """A ConvNeXt-like network that was trained in mixed precision."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = keras.Input((16, 16, 3))
        x = layers.Conv2D(32, 4, strides=4)(inputs)
        for _ in range(2):
            y = layers.DepthwiseConv2D(3, padding="same")(x)
            y = layers.Dense(64, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(y))
            x = layers.Add()([layers.Dense(32)(y), x])
        x = layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))
        return keras.Model(inputs, layers.Activation("softmax", dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy("float32")


@kind("Keras 3", pictures(16), probabilities=True)
def sigmoid_head() -> Any:
    """A model inside a model, with one sigmoid per class."""
    backbone = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, 3, strides=2, padding="same"),
            layers.GroupNormalization(groups=4),
            layers.PReLU(shared_axes=[1, 2]),
            layers.SpatialDropout2D(0.1),
            layers.Flatten(),
        ],
        name="backbone",
    )
    inputs = keras.Input((16, 16, 3))
    x = layers.Dense(64, activation="silu")(backbone(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="sigmoid")(x))


@kind("Keras 3", pictures(16))
def hub_vit() -> Any:
    """The ViTImageClassifier of keras-hub, without a preprocessor."""
    import keras_hub

    backbone = keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=4, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64
    )
    return keras_hub.models.ViTImageClassifier(backbone, CLASSES, preprocessor=None)
