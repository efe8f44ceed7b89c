"""Writes a stage's `.tflite` files, each verified before it gets its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfcompress.data.dataset import Dataset
from tfcompress.data.pixels import range_of
from tfcompress.data.tasks import describe_task
from tfcompress.data.tokenizer import Tokenizer, is_pair
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.export.folding import unfold
from tfcompress.export.formats import ConverterFormat
from tfcompress.export.lengths import all_lengths, check_shortened
from tfcompress.export.output_scales import with_output_scales
from tfcompress.export.quantizer import quantize
from tfcompress.export.shared_scales import share_scales
from tfcompress.export.verify import VerifiedTensor, verify
from tfcompress.files import atomic_write
from tfcompress.models.lookup import Lookup
from tfcompress.packed.packer import pack
from tfcompress.progress import console, track
from tfcompress.runs.recipe import Export
from tfcompress.runs.stages import Stage
from tfcompress.runtime import LENGTH
from tfcompress.tflite.merging import merge
from tfcompress.tflite.metadata import LOOKUP, Description, ImageInput, LookupInput, TextInput, describe
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write
from tfcompress.traits import FloatArray, KernelTraits, Traits, is_table, kernels

_PACKED_FORMATS = ("float32", "int8")
_TEXTS = 8
"""On how many test texts a model is tried with fewer tokens."""


@dataclass(frozen=True)
class ExportedFile:
    """A verified `.tflite` file of a stage, packed or not.

    Attributes:
        stage: whose model it holds.
        format: how its weights are stored.
        path: where it is.
        tensors: what was found in it for each kernel.
        packed: whether its weights are packed.
    """

    stage: Stage
    format: ConverterFormat
    path: Path
    tensors: tuple[VerifiedTensor, ...]
    packed: bool = False


def export_stage(stage: Stage, export: Export, workdir: Path) -> list[ExportedFile]:
    """Writes a stage's files to `workdir/tflite`. Files that an earlier call has written are kept and verified again.

    Raises:
        BrokenTraitError: a file lacks what the stage's techniques promised.
    """
    formats: tuple[ConverterFormat, ...] = ("int8",) if quantization_scheme(stage.traits) else export.formats
    lengths = all_lengths(stage.model, export.lengths)
    for length in lengths[1:]:
        check_shortened(stage.model, _some_texts(stage), length)
    makers = [_Maker(stage, export, length) for length in lengths or (None,)]
    files = [_stock(makers, stored_as, workdir) for stored_as in track(formats, "converting", len(formats))]
    if export.clustered and any(kernel.clusters for kernel in stage.traits.values()):
        files += [packed for file in files if file.format in _PACKED_FORMATS and (packed := _packed(file))]
    return files


def quantization_scheme(traits: Traits) -> str:
    """Returns the longest of the quantized kernels' schemes (QAT, PQAT, CQAT, PCQAT); empty if none is quantized."""
    return max((kernel.scheme for kernel in traits.values() if kernel.quantized), key=len, default="")


class _Maker:
    """Makes a stage's files for one number of tokens, or for all that the model takes."""

    def __init__(self, stage: Stage, export: Export, length: int | None) -> None:
        self.stage, self._export, self.length = stage, export, length

    def make(self, format: ConverterFormat) -> bytes:
        """Returns a file without metadata."""
        if format == "float32":
            return self._float32[0]
        if format != "int8" and _clustered(self.stage) and self._float32[1]:
            content = quantize(self._float32[0], format, per_channel=self._export.per_channel)
            return share_scales(content, _clustered(self.stage)) if format == "dynamic" else content
        return self._converted(format)

    @cached_property
    def _float32(self) -> tuple[bytes, bool]:
        """The float32 file with clustered kernels as they were trained, and whether the converter changed them."""
        content = self._converted("float32")
        clustered = _clustered(self.stage)
        if clustered and unfold(file := read(content), clustered):
            return write(file), True
        return content, False

    def _converted(self, format: ConverterFormat) -> bytes:
        stage, export = self.stage, self._export
        return convert(stage.model, format, export.logits, export.per_channel, stage.outputs, stage.names, self.length)


def _stock(makers: Sequence[_Maker], format: ConverterFormat, workdir: Path) -> ExportedFile:
    """Makes one file, with a signature for each of the makers, the longest first."""
    stage = makers[0].stage

    def make() -> bytes:
        content = makers[0].make(format)
        if len(makers) > 1:
            shorter = {f"{LENGTH}{maker.length}": maker.make(format) for maker in makers[1:]}
            content = merge({"serving_default": content, **shorter})
        if scales := {name: kernel.scales for name, kernel in stage.traits.items() if kernel.scales}:
            content = with_output_scales(content, kernels(stage.model), scales)
        return describe(content, _description(stage, format))

    return _verified(stage, format, workdir / "tflite" / f"{stage.folder}-{format}.tflite", make)


def _some_texts(stage: Stage) -> dict[str, npt.NDArray[np.int32]]:
    """Returns the inputs `(batch, tokens)` of the first test examples, by name."""
    batch: dict[str, npt.NDArray[np.int32]] = next(stage.data.batches("test", _TEXTS).as_numpy_iterator())[0]
    return batch


def _clustered(stage: Stage) -> dict[str, FloatArray]:
    """Returns the clustered kernels of a stage's float model by name, without tables."""
    return {
        name: kernel
        for name, kernel in kernels(stage.model).items()
        if stage.traits.get(name, KernelTraits()).clusters and not is_table(stage.model.get_layer(name))
    }


def _packed(file: ExportedFile) -> ExportedFile | None:
    """Packs a file and writes the result beside it; a file that cannot be packed is left out, with its reason."""
    path = file.path.with_stem(f"{file.path.stem}_packed")
    try:
        content = path.read_bytes() if path.is_file() else pack(file.path.read_bytes(), allow_larger=True)
    except UserError as error:
        console.print(f"{file.path.name} is not packed: {error}", soft_wrap=True)
        return None
    return _verified(file.stage, file.format, path, lambda: content, packed=True)


def _verified(
    stage: Stage, format: ConverterFormat, path: Path, make: Callable[[], bytes], packed: bool = False
) -> ExportedFile:
    """Verifies the file at `path`, or what `make` returns before that is written to `path`."""
    written = path.is_file()
    content = path.read_bytes() if written else make()
    try:
        tensors = verify(content, stage.model, stage.traits, format)
    except UserError as error:
        if not written:
            raise
        reason = str(error).partition(";")[0]
        raise UserError(f"{path} cannot be kept: {reason}; delete it, and the same command makes it again") from error
    if not written:
        with atomic_write(path) as beside:
            beside.write_bytes(content)
    return ExportedFile(stage, format, path, tuple(tensors), packed)


def _description(stage: Stage, format: ConverterFormat) -> Description:
    """Returns a file's metadata."""
    data, scheme = stage.data, quantization_scheme(stage.traits)
    text = describe_task(data.task.name, data.name, len(data.classes))
    text += f"Stage {stage.name}, {scheme or format}."
    if isinstance(data.decode, Lookup):
        text += f" Takes what {LOOKUP}, in the archive at the end of the file, makes of words."
    labels = data.classes if stage.model.outputs[0].shape[-1] == len(data.classes) else ()
    return Description(stage.model.name, text, labels, _input(data), data.task.name)


def _input(data: Dataset) -> ImageInput | TextInput | LookupInput | None:
    """Returns what the examples are, or None where a phone could not know how to make them."""
    if isinstance(data.decode, Tokenizer):
        cut = data.decode
        return TextInput(cut.vocabulary, cut.lowercase, cut.strip_accents, is_pair(data.test.element_spec[0]))
    if isinstance(data.decode, Lookup):
        return LookupInput(data.decode.describe())
    pixels = range_of(data)
    return None if pixels is None else ImageInput.of_range(*pixels)
