"""The recipe of a run, read from a YAML file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tfcompress.data.registry import Data
from tfcompress.errors import UserError
from tfcompress.export.formats import RecipeFormat
from tfcompress.export.lengths import LEAST
from tfcompress.models import presets
from tfcompress.models.bert import Pooling
from tfcompress.models.outputs import Told
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.distillation import Distil
from tfcompress.optimize.halving import Halve
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.quantization import Quantize
from tfcompress.optimize.removal import Remove
from tfcompress.optimize.technique import ORDER, Technique, check_order
from tfcompress.optimize.vocabulary import TrimVocabulary
from tfcompress.settings import Settings, parse_yaml
from tfcompress.strategy import StrategyName
from tfcompress.training import Training, strategy_of

SEARCH = "search"
"""The key that stands in a recipe in the place of a value that `tfcompress search` may choose."""

Place = tuple[str | int, ...]
"""Keys and positions that lead to a value inside a recipe's content."""


class Model(Settings):
    """The model to train: exactly one of `preset`, `keras_nlp` and `hugging_face`."""

    preset: str | None = Field(None, description="`tfcompress presets` lists them")
    keras_nlp: str | None = Field(None, description="a keras-nlp preset with its weights: a name or a local folder")
    hugging_face: Path | None = Field(None, description="a folder with config.json and model.safetensors")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of features that are dropped during training")
    sequence_length: int = Field(128, ge=3, description="tokens per text, including the two special ones")
    vocabulary: int | None = Field(
        None, ge=100, description="number of tokens in a new WordPiece vocabulary, for a text model without weights"
    )
    depth: int | None = Field(
        None, ge=1, description="number of blocks in a model without weights, instead of the preset's"
    )
    pooling: Pooling | None = Field(None, description="what the head of a text model reads; not with keras_nlp")
    new_head: bool = Field(False, description="leave out the head of hugging_face: its classes are not yours")
    outputs: Told | None = Field(
        None, description="what a model given by --model outputs, if the run cannot find it out and asks"
    )

    @field_validator("preset")
    @classmethod
    def _known(cls, preset: str | None) -> str | None:
        if preset is not None:
            presets.preset(preset)
        return preset

    @model_validator(mode="after")
    def _one_source(self) -> Model:
        given = [name for name in ("preset", "keras_nlp", "hugging_face") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{' and '.join(given) or 'no model'} given; name one of preset, keras_nlp, hugging_face")
        return self

    @model_validator(mode="after")
    def _nothing_useless(self) -> Model:
        pretrained = next((name for name in ("keras_nlp", "hugging_face") if getattr(self, name) is not None), "")
        images = self.preset in presets.VIT_PRESETS
        brought = "has its own" if pretrained or self.preset == "minilm_l6" else None
        useless = {
            "vocabulary": "takes images" if images else brought,
            "depth": brought,
            "pooling": "takes images" if images else "keeps its own" if pretrained == "keras_nlp" else None,
        }
        for name, why in useless.items():
            if why and getattr(self, name) is not None:
                raise ValueError(f"{name} is given, but {pretrained or self.preset} {why}; leave {name} out")
        if self.new_head and self.hugging_face is None:
            raise ValueError("new_head is given, but only a folder of hugging_face has a head; leave new_head out")
        return self


class Export(Settings):
    """The files that are written for every stage with a float model. A quantized model is always written as int8."""

    formats: tuple[RecipeFormat, ...] = Field(("float32",), min_length=1, description="one file per format")
    logits: bool = Field(False, description="leave the softmax out of the files")
    per_channel: bool = Field(False, description="one scale per output in `dynamic`; such a file needs TFLite 2.17")
    clustered: bool = Field(False, description="also pack the float32 and int8 files of clustered stages")
    lengths: tuple[int, ...] = Field(
        (), description="the numbers of tokens that a text model's files take, beside its sequence_length"
    )

    @field_validator("lengths")
    @classmethod
    def _increasing(cls, lengths: tuple[int, ...]) -> tuple[int, ...]:
        if list(lengths) != sorted(set(lengths)) or any(length < LEAST for length in lengths):
            raise ValueError(f"lengths are different numbers from {LEAST} on, the smallest first")
        return lengths

    @field_validator("formats", mode="before")
    @classmethod
    def _float(cls, formats: object) -> object:
        if isinstance(formats, (list, tuple)) and "int8" in formats:
            raise ValueError("int8 comes from the technique quantize; the formats are float32, float16 and dynamic")
        return formats


class Step(Settings):
    """One technique with its settings."""

    halve: Halve | None = None
    remove: Remove | None = None
    trim_vocabulary: TrimVocabulary | None = None
    distil: Distil | None = None
    prune: Prune | None = None
    cluster: Cluster | None = None
    quantize: Quantize | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, value: object) -> object:
        if isinstance(value, str):
            value = {value: None}
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _one(self) -> Step:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"each step names one technique; the techniques are {', '.join(Step.model_fields)}")
        return self

    @property
    def technique(self) -> Technique:
        """The technique itself."""
        techniques: list[Technique] = [value for _, value in self if value is not None]
        return techniques[0]


class Recipe(Settings):
    """What one run does: it trains a model on data, applies techniques in order, and writes files."""

    data: Data
    model: Model
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, shuffling, augmentation, dropout and centroids")
    training: Training | Literal[False] = Field(
        Training(), description="the training of the base model; false if its weights are those of a checkpoint"
    )
    techniques: tuple[Step, ...] = Field((), description=f"any of {', '.join(ORDER)}, in this order")
    export: Export = Field(Export(), description="the files to write")

    @field_validator("techniques")
    @classmethod
    def _legal_order(cls, techniques: tuple[Step, ...]) -> tuple[Step, ...]:
        check_order([step.technique for step in techniques])
        return techniques

    @model_validator(mode="after")
    def _one_strategy(self) -> Recipe:
        _ = self.strategy
        return self

    @property
    def strategy(self) -> StrategyName | None:
        """What all trainings are spread over: named by the base model's, or by that of a technique."""
        return strategy_of([self.training or None, *(step.technique.fit for step in self.techniques)])

    @classmethod
    def load(cls, name: str, overrides: Sequence[str] = ()) -> Recipe:
        """Reads a shipped recipe by its name, or any recipe by its path.

        Args:
            name: one of `shipped()`, or the path of a YAML file.
            overrides: changed settings, each `path=value` with a YAML value: `techniques[1].cluster.clusters=32`.

        Raises:
            UserError: a setting is wrong; the message names its path, what was found and what is accepted.
        """
        content = read_recipe(name, overrides)
        for path, _ in searched(content):
            raise UserError(
                f"{name}: {written(path)} is to be searched; give the recipe to `tfcompress search`, or set one value"
            )
        return cls.checked(content, name)


def read_recipe(name: str, overrides: Sequence[str] = ()) -> Any:
    """Returns the content of a recipe with changed settings, unchecked; see `Recipe.load`."""
    content = parse_yaml(_text(name), name)
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"--set {override!r} has no '='; write --set key.path=value")
        _set(content, path, parse_yaml(value, f"--set {path}"))
    return content


def searched(content: Any, path: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yields where a recipe's content has `{search: …}` instead of a value, and what stands beside `search`."""
    if isinstance(content, dict) and list(content) == [SEARCH]:
        yield path, content[SEARCH]
        return
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from searched(value, (*path, key))


def written(place: Place) -> str:
    """Returns a place as `--set` takes it, such as `techniques[1].cluster.clusters`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def shipped() -> dict[str, str]:
    """Returns the first comment line of each recipe that comes with the package, by name."""
    files = sorted(f for f in resources.files("tfcompress.recipes").iterdir() if f.name.endswith(".yaml"))  # type: ignore[type-var]
    return {f.name.removesuffix(".yaml"): f.read_text().splitlines()[0].lstrip("# ") for f in files}


def _text(name: str) -> str:
    if name in shipped():
        return resources.files("tfcompress.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"recipe {name!r} is neither shipped ({', '.join(shipped())}) nor a readable YAML file ({error})"
        ) from None


def _set(content: Any, path: str, value: Any) -> None:
    """Sets one value inside parsed YAML, by a path such as `techniques[1].cluster.clusters`."""
    *parents, last = re.findall(r"[^.\[\]]+", path) or [""]
    target = content
    try:
        for part in parents:
            if isinstance(target, list):
                target = target[int(part)]
                continue
            if target.get(part) is None:
                target[part] = {}
            target = target[part]
        target[int(last) if isinstance(target, list) else last] = value
    except (AttributeError, IndexError, TypeError, ValueError):
        raise UserError(f"--set {path}: there is no such place in the recipe") from None
