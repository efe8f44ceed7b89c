"""What a run found, as one document that JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, computed_field

from tfcompress.errors import UserError
from tfcompress.export.verify import VerifiedTensor
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.measure.accuracy import Accuracy, Agreement, Flips
from tfcompress.measure.latency import Latency
from tfcompress.measure.memory import Memory
from tfcompress.measure.size import Size


@dataclass(frozen=True)
class Variant:
    """One `.tflite` file and all that was measured of it.

    Attributes:
        stage: what its model has been through: `base` or a technique's name.
        format: how its weights are stored.
        scheme: which quantization-aware training made it: QAT, PQAT, CQAT, PCQAT; empty for the others.
        file: path below the working folder.
        minimum_runtime: the oldest TFLite that runs it.
        inputs: type and shape by the name of each input.
        flips: against the first variant; None for that one.
        agreement: with the Keras model that the file was made of.
        memory: None where it cannot be measured.
        tensors: what was found in the file for every kernel.
        packed: whether its clustered weights stay so at run time; see docs/format.md.
    """

    stage: str
    format: str
    scheme: str
    file: str
    minimum_runtime: str
    inputs: dict[str, str]
    size: Size
    accuracy: Accuracy
    flips: Flips | None
    agreement: Agreement
    latency: Latency
    memory: Memory | None
    tensors: tuple[VerifiedTensor, ...]
    packed: bool = False

    @property
    def name(self) -> str:
        """Stage, scheme and format in words."""
        return f"{self.stage} {self.scheme or self.format}{' packed' if self.packed else ''}"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def embedding_bytes(self) -> int:
        """Bytes of the token and segment tables in the file."""
        return sum(tensor.bytes for tensor in self.tensors if tensor.table)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def encoder_bytes(self) -> int:
        """Bytes of all the rest of the file: encoder, head and graph."""
        return self.size.raw - self.embedding_bytes


@dataclass(frozen=True)
class LeftAlone:
    """A layer whose weights no technique of the run treated."""

    layer: str
    kind: str
    parameters: int


@dataclass(frozen=True)
class Report:
    """All figures of a run, with what is needed to get them again.

    Attributes:
        run: the recipe, or what `compress` was called with.
        history: a row an epoch for each stage.
        left_alone: layers with weights that no technique treated.
        variants: the first is the base model in the first format asked for, the last the most compressed one.
    """

    run: dict[str, Any]
    date: str
    versions: dict[str, str]
    machine: dict[str, str | int]
    history: dict[str, list[dict[str, float]]]
    left_alone: tuple[LeftAlone, ...]
    variants: tuple[Variant, ...]

    @property
    def title(self) -> str:
        """The base model and the data in words."""
        model = self.run["model"]
        name = next(model[key] for key in ("preset", "keras_nlp", "hugging_face", "name") if model.get(key))
        return f"{name} on {self.run['data']['name']}"

    def save(self, path: Path) -> None:
        """Writes the report as JSON."""
        write_json(path, TypeAdapter(Report).dump_python(self, mode="json"))

    @classmethod
    def load(cls, path: Path) -> Report:
        """Reads a report that `save` wrote.

        Raises:
            UserError: it cannot be read, is of another version, or is none.
        """
        try:
            return TypeAdapter(cls).validate_python(read_json(path))
        except OSError as error:
            raise UserError(
                f"cannot read {path}: {error.strerror}; give the run's command again: finished stages are kept"
            ) from error
        except ValueError as error:
            raise UserError(
                f"{path} is not a report of this version; delete it and give the run's command again: finished stages "
                "are kept"
            ) from error


def make_report(
    run: dict[str, Any],
    history: dict[str, list[dict[str, float]]],
    left_alone: Sequence[LeftAlone],
    variants: Sequence[Variant],
) -> Report:
    """Puts a report together with the versions, the machine and the time."""
    return Report(
        run=run,
        date=environment.now(),
        versions=environment.versions(),
        machine=environment.machine(),
        history=history,
        left_alone=tuple(left_alone),
        variants=tuple(variants),
    )
