"""What follows the encoder in a folder of sentence-transformers: pooling, Dense layers and normalization.

Names and defaults are those of that package (Reimers and Gurevych, arXiv 1908.10084).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tf_keras
from pydantic import BaseModel, PositiveInt

from tfcompress.errors import UserError
from tfcompress.models.bert import first_token
from tfcompress.models.layers import MaxOfTokens, MeanOfTokens
from tfcompress.models.pretrained.checkpoint import Array
from tfcompress.models.pretrained.hugging_face_config import checked
from tfcompress.models.pretrained.hugging_face_files import Files, read_list, read_object, read_optional, read_tensors

_MODULES = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")
_SETTINGS = re.compile(r"sentence_[a-z-]+_config\.json")

_POOLINGS: dict[str, Callable[[tf_keras.KerasTensor, tf_keras.KerasTensor], tf_keras.KerasTensor]] = {
    "cls": lambda states, mask: first_token(states, "pool_first"),
    "max": lambda states, mask: MaxOfTokens(name="pool_max")([states, mask]),
    "mean": lambda states, mask: MeanOfTokens(name="pool_mean")([states, mask]),
    "mean_sqrt_len_tokens": lambda states, mask: MeanOfTokens(root=True, name="pool_mean_sqrt_len")([states, mask]),
}
"""The poolings that we have, in the order in which several are joined."""

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

_ACTIVATIONS = {"Identity": "linear", "Tanh": "tanh", "ReLU": "relu", "Sigmoid": "sigmoid", "GELU": "gelu"}
"""The activations of Keras by the last part of the names of torch's."""


class _DenseSettings(BaseModel):
    """What config.json of a Dense module says."""

    in_features: PositiveInt
    out_features: PositiveInt
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"


class _EncoderSettings(BaseModel):
    """What sentence_bert_config.json says."""

    max_seq_length: PositiveInt | None = None
    do_lower_case: bool = False


@dataclass(frozen=True)
class _Module:
    kind: str
    folder: str


@dataclass(frozen=True)
class SentenceModules:
    """The modules of a folder of sentence-transformers, which modules.json lists.

    Attributes:
        files: of the whole folder.
        encoder: name of the folder within it that has the encoder; empty if it is the folder itself.
        most_tokens: how many tokens a text may have; None if it does not say.
        lowercase: whether texts are lower-cased, whatever the tokenizer does.
        after: the modules after the encoder.
    """

    files: Files
    encoder: str
    most_tokens: int | None
    lowercase: bool
    after: tuple[_Module, ...]

    @classmethod
    def of(cls, files: Files) -> SentenceModules | None:
        """Returns the modules of a folder, or None if it is not one of sentence-transformers.

        Raises:
            UserError: modules.json lists a module that is not supported, or in another order.
        """
        if "modules.json" not in files.names:
            return None
        first, *after = (_module(entry, files.source) for entry in read_list(files, "modules.json"))
        kinds = [module.kind for module in after]
        if first.kind != "Transformer" or kinds[:1] != ["Pooling"] or {"Transformer", "Pooling"} & set(kinds[1:]):
            raise UserError(
                f"modules.json of {files.source} lists {', '.join([first.kind, *kinds])}; accepted are Transformer, "
                "Pooling, and any number of Dense and Normalize"
            )
        inner = files.within(first.folder)
        name = next((name for name in sorted(inner.names) if _SETTINGS.fullmatch(name)), "")
        settings = checked(_EncoderSettings, read_optional(inner, name), f"{name} of {inner.source}")
        return cls(files, first.folder, settings.max_seq_length, settings.do_lower_case, tuple(after))

    def embedding(self, model: tf_keras.Model, last: str) -> tf_keras.Model:
        """Returns a model from the same inputs to `embedding`, `(batch, width)`.

        Args:
            model: the encoder, with the input `padding_mask`.
            last: name of its layer that gives the last hidden states.

        Raises:
            UserError: a module has settings that are not supported, or its weights are missing or do not fit.
        """
        states, mask = model.get_layer(last).output, model.get_layer("padding_mask").output
        x = self._pooled(states, mask, self.files.within(self.after[0].folder))
        for number, module in enumerate(self.after[1:]):
            if module.kind == "Dense":
                x = _dense(x, self.files.within(module.folder), self.files.source, f"dense_{number}")
            elif module.kind == "Normalize":
                x = tf_keras.layers.UnitNormalization(name=f"normalize_{number}")(x)
        x = tf_keras.layers.Activation("linear", name="embedding")(x)
        return tf_keras.Model(model.inputs, x, name=model.name)

    def _pooled(self, states: tf_keras.KerasTensor, mask: tf_keras.KerasTensor, files: Files) -> tf_keras.KerasTensor:
        asked = _poolings(read_object(files, "config.json"), files.source)
        parts = [pool(states, mask) for name, pool in _POOLINGS.items() if name in asked]
        return parts[0] if len(parts) == 1 else tf_keras.layers.Concatenate(name="pool_join")(parts)


def _module(entry: Any, source: str) -> _Module:
    kind = str(entry.get("type", "")).rpartition(".")[2] if isinstance(entry, dict) else str(entry)
    if kind not in _MODULES:
        raise UserError(f"modules.json of {source} lists a {kind}; accepted are {', '.join(_MODULES)}")
    return _Module(kind, str(entry.get("path", "")))


def _poolings(settings: Mapping[str, Any], source: str) -> list[str]:
    """Returns the poolings that config.json of a Pooling module asks for: by one name, or by a flag for each."""
    named = settings.get("pooling_mode")
    found = [named] if isinstance(named, str) else [name for flag, name in _FLAGS.items() if settings.get(flag)]
    other = [name for name in found if name not in _POOLINGS]
    if other or not found:
        raise UserError(
            f"{source} pools by {', '.join(other) or 'nothing'}; accepted are {', '.join(_POOLINGS)}: use another "
            "checkpoint"
        )
    return found


def _dense(x: tf_keras.KerasTensor, files: Files, root: str, name: str) -> tf_keras.KerasTensor:
    """Adds a Dense module, with its weights."""
    settings = checked(_DenseSettings, read_object(files, "config.json"), f"config.json of {files.source}")
    activation = settings.activation_function.rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        raise UserError(
            f"{files.source} has the activation {settings.activation_function}; accepted are {', '.join(_ACTIVATIONS)}"
        )
    code = f"from sentence_transformers import SentenceTransformer as M; M({root!r}).save({root!r})"
    tensors = read_tensors(files, "", code)
    layer = tf_keras.layers.Dense(settings.out_features, _ACTIVATIONS[activation], use_bias=settings.bias, name=name)
    output = layer(x)
    weights: list[Array] = [tensors[f"linear.{part}"].T for part in ("weight", "bias") if f"linear.{part}" in tensors]
    expected = [tuple(w.shape) for w in layer.weights]
    if [w.shape for w in weights] != expected or x.shape[-1] != settings.in_features:
        raise UserError(
            f"{files.source} has weights of shape {[w.shape for w in weights]}, but its config.json says "
            f"{settings.in_features} to {settings.out_features} and reads {x.shape[-1]}; use an undamaged checkpoint"
        )
    layer.set_weights(weights)
    return output
