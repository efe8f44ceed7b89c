"""The report of a run: all its figures in one JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, computed_field

from tfcompress.errors import UserError
from tfcompress.export.verify import VerifiedTensor
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.measure.agreement import Agreement
from tfcompress.measure.figures import Figures
from tfcompress.measure.latency import Latency
from tfcompress.measure.lengths import LengthFigures
from tfcompress.measure.memory import Memory
from tfcompress.report.run_description import CompressCall, RecipeRun, RunDescription


@dataclass(frozen=True, kw_only=True)
class Variant(Figures):
    """One `.tflite` file of a run and everything that was measured of it.

    Its `change` is against the first variant, and its `agreement` is with the Keras model that it was made from.

    Attributes:
        stage: the last stage that its model went through: `base` or the name of a technique.
        format: how its weights are stored.
        scheme: the kind of quantization-aware training that it comes from: QAT, PQAT, CQAT or PCQAT; empty without any.
        file: its path below the working folder.
        minimum_runtime: the oldest TFLite version that runs it.
        memory: None where it cannot be measured.
        tensors: what was found in the file for every kernel.
        packed: whether its weights are packed, so that they stay clustered at run time; see docs/format.md.
        lengths: what was measured at each number of tokens, if the file takes several; the fewest tokens first.
    """

    stage: str
    format: str
    scheme: str
    file: str
    minimum_runtime: str
    agreement: Agreement
    latency: Latency
    memory: Memory | None
    tensors: tuple[VerifiedTensor, ...]
    packed: bool = False
    lengths: tuple[LengthFigures, ...] = ()

    @property
    def name(self) -> str:
        """Stage and scheme or format, in words."""
        return f"{self.stage} {self.scheme or self.format}{' packed' if self.packed else ''}"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def embedding_bytes(self) -> int:
        """Bytes of the token and segment tables in the file."""
        return sum(tensor.bytes for tensor in self.tensors if tensor.table)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def encoder_bytes(self) -> int:
        """Bytes of the rest of the file: encoder, head and graph."""
        return self.size.raw - self.embedding_bytes


@dataclass(frozen=True)
class UntreatedLayer:
    """A layer with weights that no technique of the run treated by itself."""

    layer: str
    kind: str
    parameters: int


@dataclass(frozen=True)
class Report:
    """All figures of a run, and what is needed to repeat it.

    Attributes:
        run: the recipe, or the call of `compress`.
        history: for each stage one row per epoch of its training.
        left_alone: layers with weights that no technique treated by itself.
        explained: how layers were treated, where a technique had a choice, by the layers' names.
        variants: the first is the base model in the first format of the recipe, the last is the most compressed one.
    """

    run: RunDescription
    date: str
    versions: dict[str, str]
    machine: dict[str, str | int]
    history: dict[str, list[dict[str, float]]]
    left_alone: tuple[UntreatedLayer, ...]
    variants: tuple[Variant, ...]
    explained: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The base model and the data set in words."""
        return f"{self.run.model_name} on {self.run.data.name}"

    def save(self, path: Path) -> None:
        """Writes the report as JSON."""
        write_json(path, TypeAdapter(Report).dump_python(self, mode="json"))

    @classmethod
    def load(cls, path: Path) -> Report:
        """Reads a report that `save` wrote.

        Raises:
            UserError: it cannot be read, or it is not a report of this version.
        """
        try:
            return TypeAdapter(cls).validate_python(read_json(path))
        except OSError as error:
            raise UserError(
                f"cannot read {path}: {error.strerror}; repeat the run's command, which keeps finished stages"
            ) from error
        except ValueError as error:
            raise UserError(
                f"{path} is not a report of this version; delete it and repeat the run's command, which keeps finished "
                "stages"
            ) from error


def make_report(
    run: RecipeRun | CompressCall,
    history: dict[str, list[dict[str, float]]],
    untreated: Sequence[UntreatedLayer],
    variants: Sequence[Variant],
    explained: Mapping[str, str],
) -> Report:
    """Returns a report with the present versions, machine and time."""
    return Report(
        run=run,
        date=environment.now(),
        versions=environment.versions(),
        machine=environment.machine(),
        history=history,
        left_alone=tuple(untreated),
        variants=tuple(variants),
        explained=dict(explained),
    )
