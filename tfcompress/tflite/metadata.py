"""TFLite Metadata, with which a `.tflite` file says what it is, what it takes and what its outputs mean.

One of the file's buffers holds a flatbuffer that describes the model. Labels and vocabulary are files in a zip archive
at the end of the `.tflite` file, stored uncompressed so that they can be read in place.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfcompress.errors import UserError
from tfcompress.tflite import metadata_tables
from tfcompress.tflite.attached import ARCHIVE_ERRORS
from tfcompress.tflite.graph import Content, Graph, Metadata, Model
from tfcompress.tflite.metadata_tables import Fields
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Buffer, Tensor
from tfcompress.tflite.writing import write

LABELS, VOCABULARY, TOKENIZER, LOOKUP = "labels.txt", "vocab.txt", "tokenizer.json", "lookup.json"
"""The names of the files in the archive. `Tokenizer.load` reads the second and third, `Lookup.load` the last."""

TEXT_INPUTS = {"token_ids": "ids", "segment_ids": "segment_ids", "padding_mask": "mask"}
"""The names that MediaPipe expects for the inputs of a BERT, by our names."""

_ENTRY = "TFLITE_METADATA"
_TASK = "tfcompress.task"
_AXIS_LABELS, _VOCABULARY_FILE = 2, 5  # values of AssociatedFileType
_COLOUR_SPACES = {1: 2, 3: 1}  # ColorSpaceType by number of channels
_MAX_FILE_BYTES = 1 << 24


@dataclass(frozen=True)
class ImageInput:
    """How an image becomes the model's input: `(pixel - mean) / std`, for pixels from 0 to 255.

    Attributes:
        mean, std: one number, or one number per channel, which MediaPipe refuses; empty if pixels are not normalized.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (255.0,)

    @classmethod
    def of_range(cls, black: float, white: float) -> ImageInput:
        """Returns the input of a model for which black and white have these values."""
        std = 255.0 / (white - black)
        return cls((0.0 - black * std,), (std,))


@dataclass(frozen=True)
class TextInput:
    """How a text becomes token ids: by BERT's WordPiece tokenization.

    Attributes:
        vocabulary: the pieces, at the index of their token id.
        lowercase: whether the text is converted to lower case first; None if a file does not say.
        strip_accents: whether accents are removed first.
        pairs: whether the model takes pairs of texts.
    """

    vocabulary: tuple[str, ...]
    lowercase: bool | None = None
    strip_accents: bool = False
    pairs: bool = False


@dataclass(frozen=True)
class LookupInput:
    """How words become ids: as layers of Keras at the beginning of the model did.

    Attributes:
        described: see `tfcompress.models.lookup.Lookup.describe`.
    """

    described: Mapping[str, Any]


@dataclass(frozen=True)
class Description:
    """What a `.tflite` file says about itself.

    Attributes:
        name: the name of the model.
        text: what the model is, in a sentence or two.
        labels: the classes, in the order of the scores; a line break in a label becomes a space.
        input: how an image or text becomes its input; None if unknown.
        task: what its answers are, by a name of `tfcompress.data.tasks`; empty if unknown.
    """

    name: str
    text: str = ""
    labels: tuple[str, ...] = ()
    input: ImageInput | TextInput | LookupInput | None = None
    task: str = ""


def describe(content: Content, description: Description) -> bytes:
    """Returns the file with a description, which replaces one that it has. Equal arguments give equal bytes.

    Raises:
        UserError: `content` is not a valid `.tflite` file, or no output has as many scores as there are labels.
    """
    model = read(content)
    packed = np.frombuffer(metadata_tables.pack(_tables(model, description)), np.uint8)
    known = model.entry(_ENTRY)
    if known is None:
        model.metadata.append(Metadata(_ENTRY, Buffer(packed)))
    else:
        known.buffer.data = packed
    described = io.BytesIO()
    described.write(write(model))
    if files := _files(model.graphs[0], description):
        with zipfile.ZipFile(described, "w") as archive:
            for name, data in files.items():
                archive.writestr(
                    zipfile.ZipInfo(name), data
                )  # ZipInfo has no current time, so the bytes are reproducible.
    return described.getvalue()


def read_description(content: Content) -> Description | None:
    """Returns what a `.tflite` file says about itself; None if it has no TFLite Metadata.

    Some quantizers drop the archive at the end of the file. The description then has no labels.

    Raises:
        UserError: the file, its metadata or its archive is damaged, or its vocabulary was dropped.
    """
    entry = read(content).entry(_ENTRY)
    try:
        return None if entry is None else _description(content, metadata_tables.unpack(entry.data.tobytes()))
    except ARCHIVE_ERRORS as error:
        raise UserError(
            f"the TFLite Metadata cannot be read ({error}); make the file again or fetch another copy"
        ) from error


def read_labels(content: Content) -> tuple[str, ...]:
    """Returns the labels of a `.tflite` file, in the order of the scores; empty if it has none that can be read.

    Raises:
        UserError: the file is damaged.
    """
    entry = read(content).entry(_ENTRY)
    try:
        return () if entry is None else _labels(content, _graph(metadata_tables.unpack(entry.data.tobytes())))
    except ARCHIVE_ERRORS:
        return ()


def _tables(model: Model, description: Description) -> Fields:
    """Returns the metadata of a model, which describe its first graph."""
    graph, takes, labels = model.graphs[0], description.input, description.labels
    names = _names(model)
    inputs = [_input(names[tensor], tensor, takes) for tensor in graph.inputs]
    outputs: list[Fields] = [{"name": names[tensor]} for tensor in graph.outputs]
    if labels:
        sizes = [tensor.shape[-1] if tensor.shape else 1 for tensor in graph.outputs]
        if len(labels) not in sizes:
            raise UserError(
                f"there are {len(labels)} labels, but the file's outputs have {sizes} values; give one label per value"
            )
        outputs[sizes.index(len(labels))]["associated_files"] = [{"name": LABELS, "type": _AXIS_LABELS}]
    subgraph: Fields = {"input_tensor_metadata": inputs, "output_tensor_metadata": outputs}
    if isinstance(takes, TextInput):
        vocabulary = {"name": VOCABULARY, "type": _VOCABULARY_FILE}
        subgraph["input_process_units"] = [{"options": {"BertTokenizerOptions": {"vocab_file": [vocabulary]}}}]
        subgraph["associated_files"] = [{"name": TOKENIZER}]
    if isinstance(takes, LookupInput):
        subgraph["associated_files"] = [{"name": LOOKUP}]
    if description.task:
        subgraph["custom_metadata"] = [{"name": _TASK, "data": description.task}]
    return {
        "name": description.name,
        "description": description.text,
        "subgraph_metadata": [subgraph],
        "min_parser_version": "1.1.0" if isinstance(takes, TextInput) else "1.0.0",  # tokenizers need 1.1.0
    }


def _input(name: str, tensor: Tensor, takes: ImageInput | TextInput | LookupInput | None) -> Fields:
    """Returns the metadata of an input."""
    if isinstance(takes, TextInput):
        return {"name": TEXT_INPUTS.get(name, name)}
    if not isinstance(takes, ImageInput) or len(tensor.shape) != 4:
        return {"name": name}
    height, width, channels = tensor.shape[1:]
    image = {"color_space": _COLOUR_SPACES.get(channels, 0), "default_size": {"width": width, "height": height}}
    found: Fields = {"name": name, "content": {"content_properties": {"ImageProperties": image}}}
    if takes.mean:
        normalization = {"mean": takes.mean, "std": takes.std}
        found["process_units"] = [{"options": {"NormalizationOptions": normalization}}]
    return found


def _files(graph: Graph, description: Description) -> dict[str, bytes]:
    """Returns the files for the archive, by name."""
    found = {}
    if description.labels:
        found[LABELS] = _lines(re.sub(r"[\r\n]+", " ", label) for label in description.labels)
    if isinstance(description.input, TextInput):
        tokens = graph.inputs[0].shape[-1]
        settings = {"lowercase": description.input.lowercase, "sequence_length": tokens}
        for name in ("strip_accents", "pairs"):
            if getattr(description.input, name):
                settings[name] = True
        found[VOCABULARY] = _lines(description.input.vocabulary)
        found[TOKENIZER] = json.dumps(settings).encode()
    if isinstance(description.input, LookupInput):
        found[LOOKUP] = json.dumps(description.input.described).encode()
    return found


def _names(model: Model) -> dict[Tensor, str]:
    """Returns the names of the first graph's tensors: those in its signatures, or else those in the graph."""
    found = {tensor: tensor.name for tensor in model.graphs[0].tensors}
    for signature in model.signatures:
        if signature.graph is model.graphs[0]:
            for named in (signature.inputs, signature.outputs):
                found |= {tensor: name for name, tensor in named.items()}
    return found


def _lines(items: Iterable[str]) -> bytes:
    return "".join(f"{item}\n" for item in items).encode("utf-8", "replace")


def _description(content: Content, model: Fields) -> Description:
    graph = _graph(model)
    own = (entry.get("data", "") for entry in graph.get("custom_metadata", ()) if entry.get("name") == _TASK)
    return Description(
        model.get("name", ""),
        model.get("description", ""),
        _labels(content, graph),
        _read_input(content, graph),
        next(own, ""),
    )


def _graph(model: Fields) -> Fields:
    """Returns the metadata of the first graph."""
    return next(iter(model.get("subgraph_metadata", ())), {})


def _labels(content: Content, graph: Fields) -> tuple[str, ...]:
    for output in graph.get("output_tensor_metadata", ()):
        for file in output.get("associated_files", ()):
            if file.get("type") == _AXIS_LABELS and zipfile.is_zipfile(io.BytesIO(content)):
                return _read_lines(content, file)
    return ()


def _read_input(content: Content, graph: Fields) -> ImageInput | TextInput | LookupInput | None:
    if any(file.get("name") == LOOKUP for file in graph.get("associated_files", ())):
        return LookupInput(json.loads(_member(content, LOOKUP)))
    for unit in graph.get("input_process_units", ()):
        for file in unit.get("options", {}).get("BertTokenizerOptions", {}).get("vocab_file", ()):
            settings = {}
            if any(file.get("name") == TOKENIZER for file in graph.get("associated_files", ())):
                settings = json.loads(_member(content, TOKENIZER))
            given = settings if isinstance(settings, dict) else {}
            lowercase = given.get("lowercase")
            return TextInput(
                _read_lines(content, file),
                lowercase if isinstance(lowercase, bool) else None,
                given.get("strip_accents") is True,
                given.get("pairs") is True,
            )
    for tensor in graph.get("input_tensor_metadata", ()):
        if "ImageProperties" in tensor.get("content", {}).get("content_properties", {}):
            units = (unit.get("options", {}).get("NormalizationOptions") for unit in tensor.get("process_units", ()))
            found: Fields = next((unit for unit in units if unit), {})
            return ImageInput(found.get("mean", ()), found.get("std", ()))
    return None


def _read_lines(content: Content, file: Fields) -> tuple[str, ...]:
    text = _member(content, file.get("name", "")).decode("utf-8", "replace").replace("\r\n", "\n")
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def _member(content: Content, name: str) -> bytes:
    """Reads a file of the archive at the end of the `.tflite` file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(name) as member:
            data = member.read(_MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{name or 'a file'}, which it names, is missing or damaged: {error}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise ValueError(f"{name} has over {_MAX_FILE_BYTES} bytes")
    return data
