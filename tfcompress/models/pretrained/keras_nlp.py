"""BERT, DistilBERT, ViT and DeiT of keras-nlp (Keras 3), copied into our Keras 2 design that tfmot accepts.

keras-nlp 0.32 is keras-hub under its old name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras

from tfcompress.errors import UserError, first_line
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

_ACCEPTED = "BERT, DistilBERT, ViT and DeiT of keras-nlp, as a backbone or a classifier"


@dataclass(frozen=True)
class _Source:
    """A Keras 3 model with what prepares its inputs.

    Attributes:
        name: what errors call it.
        backbone: of one of the four families.
        classifier: the model around the backbone, or None.
        tokenizer, image_converter: or None.
    """

    name: str
    backbone: Any
    classifier: Any
    tokenizer: Any
    image_converter: Any

    @property
    def is_text(self) -> bool:
        return hasattr(self.backbone, "vocabulary_size")


def load(preset: str, classes: int, sequence_length: int = 128, dropout: float = 0.0) -> Pretrained:
    """Loads a preset of keras-nlp by a name it knows, which it downloads, or from a folder that it has written.

    The rest is as for `convert`.

    Raises:
        UserError: no such preset, or one that `convert` refuses.
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
            f"{preset} cannot be loaded as a keras-nlp preset: {reason}; accepted are {_ACCEPTED}, by the preset's "
            "name or, offline, as a folder that save_to_preset wrote"
        ) from error
    return _convert(source, classes, sequence_length, dropout)


def convert(model: Any, classes: int | None = None, sequence_length: int = 128, dropout: float = 0.0) -> Pretrained:
    """Copies a Keras 3 model of keras-nlp into ours and compares their outputs on a fixed input.

    Ours gives logits, even if the classifier has a softmax. It takes images in [0, 1]: scale and offset of the image
    converter are folded into the patch embedding; without a converter the source is taken to want [0, 1] too.

    Args:
        model: a `BertBackbone`, `DistilBertBackbone`, `ViTBackbone` or `DeiTBackbone`, or a classifier on one.
        classes: logits of the head; by default the classifier's. Its head is copied if it has as many.
        sequence_length: of a text model; the position table is cut to it.
        dropout: share dropped while training.

    Raises:
        UserError: a model of another kind, with parts that ours does not have, with too few positions, or with a
            vocabulary that does not fit its token table; outputs that differ by more than 1e-5 of the largest.
    """
    backbone = getattr(model, "backbone", model)
    name = getattr(model, "name", repr(model))
    _check_family(backbone, name)
    classifier = model if hasattr(model, "output_dense") else None
    preprocessor = getattr(model, "preprocessor", None)
    tokenizer, converter = (getattr(preprocessor, part, None) for part in ("tokenizer", "image_converter"))
    if classes is None:
        if classifier is None:
            raise UserError(f"{name} is a backbone without a head; say how many classes the new head shall have")
        classes = int(classifier.num_classes)
    return _convert(_Source(name, backbone, classifier, tokenizer, converter), classes, sequence_length, dropout)


def _keras_nlp() -> Any:
    """Imports keras-nlp, only once it is needed: that takes seconds, and Keras 3 must be told a backend before."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras_nlp

    return keras_nlp


def _check_family(backbone: Any, name: str) -> None:
    models = _keras_nlp().models
    families = (models.BertBackbone, models.DistilBertBackbone, models.ViTBackbone, models.DeiTBackbone)
    if not isinstance(backbone, families):
        raise UserError(f"{name} is a {type(backbone).__name__}; accepted are {_ACCEPTED}")


def _stored_classifier(task: Any, preset: str, backbone: Any) -> Any:
    try:
        return task.from_preset(preset, backbone=backbone, preprocessor=None)
    except TypeError as error:
        # keras-nlp has no other way to ask: where no head is stored, it misses `num_classes`.
        if "num_classes" not in str(error):
            raise
        return None


def _if_stored(kind: Any, preset: str) -> Any:
    try:
        return kind.from_preset(preset)
    except FileNotFoundError:
        return None


def _convert(source: _Source, classes: int, length: int, dropout: float) -> Pretrained:
    """Copies weights, folds the image converter in, and compares the outputs of states, pooler and head."""
    if source.is_text:
        vocabulary = _vocabulary(source)
        config, weights = text_weights(source.backbone, source.classifier, length, source.name)
        check_text(config, source.backbone.max_sequence_length, vocabulary, source.name)
        family = "bert" if config.segments else "distilbert"
        model = assemble(config, weights, classes, dropout, source.name, family)
        inputs = _example_texts(config)
        _compare(source, model, inputs, inputs, f"block_{config.depth - 1}_norm2", has_head(weights, classes))
        return Pretrained(model, vocabulary, source.tokenizer is None or bool(source.tokenizer.lowercase))
    image_config, weights = image_weights(source.backbone, source.classifier, source.name)
    model = assemble(image_config, weights, classes, dropout, source.name, "vit")
    images = np.random.default_rng(0).random((2, *source.backbone.image_shape), np.float32)
    prepared = _fold_converter(model, source.image_converter, images)
    _compare(source, model, {"image": images}, prepared, "norm", has_head(weights, classes))
    return Pretrained(model)


def _vocabulary(source: _Source) -> tuple[str, ...]:
    if source.tokenizer is None:
        return ()
    if not isinstance(source.tokenizer, _keras_nlp().tokenizers.WordPieceTokenizer):
        raise UserError(f"{source.name} has a {type(source.tokenizer).__name__}; accepted are WordPiece tokenizers")
    return tuple(source.tokenizer.get_vocabulary())


def _example_texts(config: BertConfig) -> dict[str, Array]:
    """Returns two texts of random tokens, one of them padded."""
    rng = np.random.default_rng(0)
    length = config.sequence_length
    inputs = {
        "token_ids": rng.integers(0, config.vocabulary, (2, length)),
        "segment_ids": rng.integers(0, config.segments or 1, (2, length)),
        "padding_mask": np.arange(length) < np.array([[length], [(length + 1) // 2]]),
    }
    return {name: x.astype(np.int32) for name, x in inputs.items() if config.segments or name != "segment_ids"}


def _fold_converter(model: tf_keras.Model, converter: Any, images: Array) -> Array:
    """Folds `pixels * scale + offset` into our model, and returns images in [0, 1] as the source wants them."""
    if converter is None:
        return images
    scale = np.broadcast_to(1.0 if converter.scale is None else converter.scale, 3) * 255
    offset = np.broadcast_to(0.0 if converter.offset is None else converter.offset, 3)
    fold_normalization(model, tuple(-offset / scale), tuple(1 / scale))
    return as_numpy(converter(images * 255))


def _compare(source: _Source, model: tf_keras.Model, ours: Any, theirs: Any, states: str, with_head: bool) -> None:
    """Runs both models, ours on `ours` and the source on `theirs`, and checks what both compute."""
    found = source.backbone(theirs, training=False)
    expected = {states: found["sequence_output"] if isinstance(found, dict) else found}
    if isinstance(found, dict):
        expected["pooler"] = found["pooled_output"]
    if with_head:
        expected["head"] = source.classifier(theirs, training=False)
    outputs = tf_keras.Model(model.inputs, {name: model.get_layer(name).output for name in expected})(ours)
    for name, output in outputs.items():
        if name == "head":
            output = source.classifier.output_dense.activation(as_numpy(output))
        check_same_outputs(as_numpy(output), as_numpy(expected[name]), f"{source.name}, {name}")
