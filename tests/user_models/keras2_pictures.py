"""Picture classifiers in tf_keras."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras import layers

from tests.user_models.kinds import CLASSES, kind, pictures


class Attention(layers.Layer):
    def __init__(self, width: int, heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.heads, self.size = heads, width // heads
        self.qkv = layers.Dense(3 * width, name="qkv")
        self.proj = layers.Dense(width, name="proj")

    def call(self, x: Any) -> Any:
        batch, tokens, width = tf.shape(x)[0], x.shape[1], x.shape[2]
        qkv = tf.reshape(self.qkv(x), (batch, tokens, 3, self.heads, self.size))
        q, k, v = tf.unstack(tf.transpose(qkv, (2, 0, 3, 1, 4)))
        scores = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * self.size**-0.5)
        mixed = tf.transpose(tf.matmul(scores, v), (0, 2, 1, 3))
        return self.proj(tf.reshape(mixed, (batch, tokens, width)))


class Block(layers.Layer):
    def __init__(self, width: int, heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.norm1 = layers.LayerNormalization(epsilon=1e-6, name="norm1")
        self.attn = Attention(width, heads, name="attn")
        self.norm2 = layers.LayerNormalization(epsilon=1e-6, name="norm2")
        self.fc1 = layers.Dense(2 * width, name="fc1")
        self.fc2 = layers.Dense(width, name="fc2")

    def call(self, x: Any) -> Any:
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(tf.nn.gelu(self.fc1(self.norm2(x))))


class VisionTransformer(tf_keras.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.patch_embed = layers.Conv2D(32, 4, strides=4, name="patch_embed")
        self.blocks = [Block(32, 2, name=f"block_{i}") for i in range(2)]
        self.norm = layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.head = layers.Dense(CLASSES, name="head")

    def build(self, shape: Any) -> None:
        self.cls_token = self.add_weight("cls_token", (1, 1, 32), initializer="zeros")
        self.pos_embed = self.add_weight("pos_embed", (1, 17, 32), initializer="random_normal")
        super().build(shape)

    def call(self, images: Any) -> Any:
        x = self.patch_embed(images)
        x = tf.reshape(x, (tf.shape(x)[0], -1, 32))
        x = tf.concat([tf.repeat(self.cls_token, tf.shape(x)[0], axis=0), x], axis=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


@kind("tf_keras", pictures(16))
def timm_like_vit() -> Any:
    """A translation of timm's ViT: subclassed, one matrix for query, key and value, `x + y`, tf.nn.gelu."""
    return VisionTransformer()


@kind("tf_keras", pictures(16))
def extracted_patches() -> Any:
    """A functional ViT with tf.image.extract_patches and the stock attention."""
    inputs = tf_keras.Input((16, 16, 3))
    x = tf.image.extract_patches(inputs, (1, 4, 4, 1), (1, 4, 4, 1), (1, 1, 1, 1), "VALID")
    x = layers.Dense(32)(layers.Reshape((16, 48))(x))
    positions = layers.Embedding(16, 32)(tf.range(16))
    x = x + positions
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.MultiHeadAttention(2, 16)(y, y)
        y = layers.Dense(64)(layers.LayerNormalization(epsilon=1e-6)(x))
        x = x + layers.Dense(32)(tf.nn.gelu(y, approximate=True))
    x = tf.reduce_mean(layers.LayerNormalization(epsilon=1e-6)(x), axis=1)
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(x))


@kind("tf_keras", pictures(16), probabilities=True)
def batch_norm_cnn() -> Any:
    """A tutorial's CNN: Conv2D, BatchNormalization, ReLU, Flatten, Dense and BatchNormalization."""
    return tf_keras.Sequential(
        [
            layers.Conv2D(16, 3, padding="same", input_shape=(16, 16, 3)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(64, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(0.5),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


@kind("tf_keras", pictures(16))
def mobilenet_like() -> Any:
    """A MobileNetV2-like network: inverted residuals with ReLU(6.0)."""
    inputs = tf_keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(inputs)
    for _ in range(2):
        y = layers.BatchNormalization()(layers.Conv2D(32, 1, use_bias=False)(x))
        y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(layers.ReLU(6.0)(y))
        y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(y))
        x = layers.Add()([x, y])
    x = layers.Dense(64, activation="relu6")(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(x))


@kind("tf_keras", pictures(16))
def group_norm_resnet() -> Any:
    """A BiT-like residual network: GroupNormalization and PReLU."""
    inputs = tf_keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 4, strides=4)(inputs)
    for _ in range(2):
        y = layers.PReLU(shared_axes=[1, 2])(layers.GroupNormalization(8)(x))
        x = layers.add([x, layers.Conv2D(32, 3, padding="same")(y)])
    x = layers.PReLU()(layers.Dense(64)(layers.Flatten()(x)))
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(x))


@kind("tf_keras", pictures(16, highest=255.0), probabilities=True)
def nested_backbone() -> Any:
    """The TensorFlow tutorial of transfer learning: preprocessing and a frozen backbone inside a new model."""
    image = tf_keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(image)
    x = layers.BatchNormalization()(x)
    backbone = tf_keras.Model(image, layers.Conv2D(32, 3, strides=2, activation="relu")(x), name="backbone")
    backbone.trainable = False
    augmentation = tf_keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomZoom(0.1)])
    inputs = tf_keras.Input((16, 16, 3))
    x = layers.Rescaling(1.0 / 127.5, offset=-1)(augmentation(inputs))
    x = layers.GlobalAveragePooling2D()(backbone(x, training=False))
    x = layers.Dense(64, activation="relu")(layers.Dropout(0.2)(x))
    return tf_keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


@kind("tf_keras", pictures(16))
def efficientnet_like() -> Any:
    """An EfficientNet-like network: swish before Dense, Multiply by gates, a stochastic depth by Dropout."""
    inputs = tf_keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="swish")(inputs)
    for _ in range(2):
        y = layers.Activation("swish")(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
        gate = layers.Reshape((1, 1, 16))(layers.GlobalAveragePooling2D()(y))
        gate = layers.Conv2D(16, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="swish")(gate))
        y = layers.Conv2D(16, 1)(layers.multiply([y, gate]))
        x = layers.add([layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(y), x])
    x = layers.Dense(64, activation="swish")(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(x))


@kind("tf_keras", pictures(16))
def xception_like() -> Any:
    """An Xception-like network: SeparableConv2D and strided pooling."""
    inputs = tf_keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(inputs)
    y = layers.SeparableConv2D(32, 3, padding="same", use_bias=False)(x)
    y = layers.MaxPooling2D(3, strides=2, padding="same")(layers.BatchNormalization()(y))
    x = layers.Conv2D(32, 1, strides=2, padding="same")(x)
    x = layers.Activation("relu")(layers.add([x, y]))
    x = layers.Dense(64, activation="relu")(layers.GlobalMaxPooling2D()(x))
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(x))


@kind("tf_keras", pictures(8), probabilities=True)
def averaged_softmaxes() -> Any:
    """An ensemble: the average of the softmaxes of three small networks."""
    inputs = tf_keras.Input((8, 8, 3))
    x = layers.Flatten()(inputs)
    votes = [layers.Dense(CLASSES, activation="softmax")(layers.Dense(64, activation="relu")(x)) for _ in range(3)]
    return tf_keras.Model(inputs, layers.average(votes))


@kind("tf_keras", pictures(8))
def lambdas() -> Any:
    """Lambda layers and arithmetic of tensors: `x * 2`, `x - y`, an own swish, an L2 norm."""
    inputs = tf_keras.Input((8, 8, 3))
    x = layers.Flatten()(layers.Lambda(lambda image: image * 2.0 - 1.0)(inputs))
    x = layers.UnitNormalization()(layers.Dense(64, activation=lambda x: x * tf.nn.sigmoid(x))(x))
    y = layers.Dense(64, activation="tanh")(x * 2)
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(x - y))
