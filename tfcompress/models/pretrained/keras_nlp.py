"""Copies BERT, DistilBERT, ViT and DeiT models of keras-nlp (Keras 3) to our Keras 2 models, which tfmot supports.

keras-nlp 0.32 is keras-hub under its old name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.models.activations import equal_activation
from tfcompress.models.bert import BertConfig
from tfcompress.models.pretrained.checkpoint import (
    Array,
    Pretrained,
    assemble,
    check_same_outputs,
    check_text,
    has_head,
)
from tfcompress.models.pretrained.keras_nlp_weights import as_numpy, image_weights, text_weights
from tfcompress.models.vit import fold_normalization

if TYPE_CHECKING:
    from keras_nlp.layers import ImageConverter
    from keras_nlp.models import Backbone, Task
    from keras_nlp.tokenizers import Tokenizer

_ACCEPTED = "BERT, DistilBERT, ViT and DeiT of keras-nlp, as a backbone or a classifier"


@dataclass(frozen=True)
class _Source:
    """A Keras 3 model and its preprocessing.

    Attributes:
        name: its name in errors.
        backbone: the encoder, of one of the four families.
        classifier: the model that contains the backbone, if there is one.
        tokenizer, image_converter: the preprocessing, if there is one.
    """

    name: str
    backbone: Backbone
    classifier: Task | None
    tokenizer: Tokenizer | None
    image_converter: ImageConverter | None

    @property
    def is_text(self) -> bool:
        return hasattr(self.backbone, "vocabulary_size")


def load(preset: str, classes: int, sequence_length: int = 128, dropout: float = 0.0) -> Pretrained:
    """Loads a preset of keras-nlp, either by name, which keras-nlp downloads, or from a folder that it has written.

    Args:
        preset: name or folder.
        classes: number of classes.
        sequence_length: see `convert`.
        dropout: see `convert`.

    Raises:
        UserError: if there is no such preset, or `convert` does not support it.
    """
    keras_nlp = _keras_nlp()
    try:
        backbone = keras_nlp.models.Backbone.from_preset(preset)
        _check_family(backbone, preset)
        is_text = hasattr(backbone, "vocabulary_size")
        task = keras_nlp.models.TextClassifier if is_text else keras_nlp.models.ImageClassifier
        source = _Source(
            preset,
            backbone,
            _stored_classifier(task, preset, backbone),
            _if_stored(keras_nlp.tokenizers.Tokenizer, preset) if is_text else None,
            None if is_text else _if_stored(keras_nlp.layers.ImageConverter, preset),
        )
    except UserError:
        raise
    except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = first_line(error).partition(". ")[0]
        raise UserError(
            f"{preset} cannot be loaded as a keras-nlp preset: {reason}; accepted are {_ACCEPTED}, by the name of the "
            "preset or, offline, as a folder that save_to_preset wrote"
        ) from error
    return _convert(source, classes, sequence_length, dropout)


def convert(
    model: Backbone | Task, classes: int | None = None, sequence_length: int = 128, dropout: float = 0.0
) -> Pretrained:
    """Copies a Keras 3 model of keras-nlp to a tf_keras model, and compares their outputs on a fixed input.

    The copy outputs logits, even if the classifier has a softmax; any other activation it has itself. It takes images
    in [0, 1]: the scale and offset of the image converter are folded into the patch embedding. Without a converter the
    source is assumed to take images in [0, 1] as well.

    Args:
        model: a `BertBackbone`, `DistilBertBackbone`, `ViTBackbone` or `DeiTBackbone`, or a classifier with one.
        classes: number of classes; by default that of the classifier. A head with this number of classes is copied.
        sequence_length: input length of a text model in tokens; the position embedding is truncated to it.
        dropout: dropout rate during training.

    Raises:
        UserError: if the model is of another family, has unsupported parts or too few positions, its vocabulary does
            not match its token embedding, or the outputs differ by more than 1e-5 of the largest.
    """
    backbone = getattr(model, "backbone", model)
    name = getattr(model, "name", repr(model))
    _check_family(backbone, name)
    classifier = model if hasattr(model, "output_dense") else None
    preprocessor = getattr(model, "preprocessor", None)
    tokenizer, converter = (getattr(preprocessor, part, None) for part in ("tokenizer", "image_converter"))
    if classes is None:
        if classifier is None:
            raise UserError(f"{name} is a backbone without a head; pass classes, the number of classes of the new head")
        classes = int(classifier.num_classes)
    return _convert(_Source(name, backbone, classifier, tokenizer, converter), classes, sequence_length, dropout)


def _keras_nlp() -> ModuleType:
    """Imports keras-nlp when it is needed: that takes seconds, and the backend of Keras 3 must be set before."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras_nlp

    module: ModuleType = keras_nlp
    return module


def _check_family(backbone: object, name: str) -> None:
    models = _keras_nlp().models
    families = (models.BertBackbone, models.DistilBertBackbone, models.ViTBackbone, models.DeiTBackbone)
    if not isinstance(backbone, families):
        raise UserError(f"{name} is a {type(backbone).__name__}; accepted are {_ACCEPTED}")


def _stored_classifier(task: type[Task], preset: str, backbone: Backbone) -> Task | None:
    try:
        return task.from_preset(preset, backbone=backbone, preprocessor=None)
    except TypeError as error:
        # keras-nlp offers no other way to find out: if the preset has no head, the argument `num_classes` is missing.
        if "num_classes" not in str(error):
            raise
        return None


def _if_stored(kind: type[Any], preset: str) -> Any:
    """Returns the tokenizer or image converter of a preset, or None if it has none."""
    try:
        return kind.from_preset(preset)
    except FileNotFoundError:
        return None


def _convert(source: _Source, classes: int, length: int, dropout: float) -> Pretrained:
    """Copies the weights, folds in the image converter, and compares the outputs of encoder, pooler and head."""
    if source.is_text:
        vocabulary = _vocabulary(source)
        config, weights = text_weights(source.backbone, source.classifier, length, source.name)
        check_text(config, source.backbone.max_sequence_length, vocabulary, source.name)
        family = "bert" if config.segments else "distilbert"
        model = assemble(config, weights, classes, dropout, source.name, family)
        inputs = _example_texts(config)
        _compare(source, model, inputs, inputs, f"block_{config.depth - 1}_norm2", has_head(weights, classes))
        model = _with_activation(model, source, has_head(weights, classes))
        lowercase = source.tokenizer is None or bool(source.tokenizer.lowercase)
        strip_accents = source.tokenizer is not None and bool(source.tokenizer.strip_accents)
        return Pretrained(model, vocabulary, lowercase, strip_accents, with_head=has_head(weights, classes))
    image_config, weights = image_weights(source.backbone, source.classifier, source.name)
    model = assemble(image_config, weights, classes, dropout, source.name, "vit")
    images = np.random.default_rng(0).random((2, *source.backbone.image_shape), np.float32)
    prepared = _fold_converter(model, source.image_converter, images)
    _compare(source, model, {"image": images}, prepared, "norm", has_head(weights, classes))
    with_head = has_head(weights, classes)
    return Pretrained(_with_activation(model, source, with_head), with_head=with_head)


def _with_activation(model: tf_keras.Model, source: _Source, with_head: bool) -> tf_keras.Model:
    """Returns a model of logits with the activation of the source, unless that is a softmax or the head is new."""
    activation = source.classifier.output_dense.activation if with_head and source.classifier is not None else None
    equal = None if activation is None else equal_activation(activation)
    if activation is not None and equal is None:
        raise UserError(f"the head of {source.name} has the activation {activation}, which tf_keras does not have")
    if equal in (None, tf_keras.activations.linear, tf_keras.activations.softmax):
        return model
    return tf_keras.Model(model.inputs, tf_keras.layers.Activation(equal)(model.output), name=model.name)


def _vocabulary(source: _Source) -> tuple[str, ...]:
    if source.tokenizer is None:
        return ()
    if not isinstance(source.tokenizer, _keras_nlp().tokenizers.WordPieceTokenizer):
        raise UserError(f"{source.name} has a {type(source.tokenizer).__name__}; accepted is a WordPieceTokenizer")
    if not (source.tokenizer.split and source.tokenizer.split_on_cjk and source.tokenizer.suffix_indicator == "##"):
        raise UserError(f"{source.name} cuts words in a way of its own; accepted are BERT's tokenizers as they come")
    return tuple(source.tokenizer.get_vocabulary())


def _example_texts(config: BertConfig) -> dict[str, npt.NDArray[np.int32]]:
    """Returns the inputs for two texts of random tokens, one of them padded."""
    rng = np.random.default_rng(0)
    length = config.sequence_length
    inputs = {
        "token_ids": rng.integers(0, config.vocabulary, (2, length)),
        "segment_ids": rng.integers(0, config.segments or 1, (2, length)),
        "padding_mask": np.arange(length) < np.array([[length], [(length + 1) // 2]]),
    }
    return {name: x.astype(np.int32) for name, x in inputs.items() if config.segments or name != "segment_ids"}


def _fold_converter(model: tf_keras.Model, converter: ImageConverter | None, images: Array) -> Array:
    """Folds `pixels * scale + offset` into our model, and returns images in [0, 1] converted for the source."""
    if converter is None:
        return images
    scale = np.broadcast_to(1.0 if converter.scale is None else converter.scale, 3) * 255
    offset = np.broadcast_to(0.0 if converter.offset is None else converter.offset, 3)
    fold_normalization(model, tuple(-offset / scale), tuple(1 / scale))
    return as_numpy(converter(images * 255))


def _compare(
    source: _Source,
    model: tf_keras.Model,
    ours: Mapping[str, npt.NDArray[np.generic]],
    theirs: Mapping[str, npt.NDArray[np.generic]] | Array,
    states: str,
    with_head: bool,
) -> None:
    """Checks that our model on the inputs `ours` has the same outputs as the source on `theirs`.

    `states` is the name of the last layer of our encoder. The pooler, if there is one, and the head, if `with_head`,
    are compared too.
    """
    found = source.backbone(theirs, training=False)
    expected = {states: found["sequence_output"] if isinstance(found, dict) else found}
    if isinstance(found, dict):
        expected["pooler"] = found["pooled_output"]
    if with_head and source.classifier is not None:
        expected["head"] = source.classifier(theirs, training=False)
    outputs = tf_keras.Model(model.inputs, {name: model.get_layer(name).output for name in expected})(ours)
    for name, output in outputs.items():
        if name == "head" and source.classifier is not None:
            output = source.classifier.output_dense.activation(as_numpy(output))
        check_same_outputs(as_numpy(output), as_numpy(expected[name]), f"{source.name}, {name}")
