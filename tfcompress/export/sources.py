"""Opens a trained model from a file or folder, so that it can be converted."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.answers import End
from tfcompress.data.tasks import KINDS, describe_task
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.errors import UserError
from tfcompress.export.serving import (
    ServingFunction,
    serve_answers,
    serve_model,
    serve_saved_model,
)
from tfcompress.files import has_suffix, read_json, reading_from
from tfcompress.labels import are_placeholders
from tfcompress.models import lookup, saved
from tfcompress.models.lookup import Lookup
from tfcompress.models.outputs import Outputs
from tfcompress.models.pixels import pixel_range_of
from tfcompress.models.pretrained import hugging_face
from tfcompress.models.signature import library
from tfcompress.progress import console
from tfcompress.quiet import native_libraries_quiet
from tfcompress.tflite.attached import with_attached_files
from tfcompress.tflite.metadata import Description, ImageInput, LookupInput, TextInput
from tfcompress.tflite.reading import read
from tfcompress.tflite.signatures import complete
from tfcompress.tflite.tensor import Array
from tfcompress.tflite.writing import write

Arrays = dict[str, Array]

_ACCEPTED = (
    "a SavedModel folder, a .h5 or .keras file, a float .tflite, a Hugging Face folder (config.json and "
    "model.safetensors), or a run's working folder or one of its stages (workdir/stages/NN-name)"
)

_BEFORE: dict[End, Outputs] = {
    "softmax": Outputs.LOGITS,
    "sigmoid": Outputs.INDEPENDENT_LOGITS,
    "none": Outputs.NUMBERS,
}
"""What the model of a checkpoint gives, by what turns it into the answers of its task."""


@dataclass(frozen=True, eq=False)
class Source:
    """A model that can be converted. It has either `serving` or `content`.

    Attributes:
        name: what messages call it.
        serving: its inference function; None for a `.tflite` file.
        content: the bytes of a `.tflite` file, which has a signature; otherwise empty.
        quantized: whether it went through quantization-aware training.
        description: what is known beyond its graph; a run's stage and a checkpoint know their classes and tokenizer.
    """

    name: str
    serving: ServingFunction | None = None
    content: bytes = b""
    quantized: bool = False
    description: Description | None = None

    def run(self, inputs: Arrays) -> Arrays:
        """Runs the model, which must not be a `.tflite` file.

        Args:
            inputs: by name, each with a batch axis of length 1; a single number may have another axis.

        Returns:
            The outputs by name, with their batch axis.
        """
        assert self.serving is not None
        function = self.serving.function
        given = [
            tf.reshape(tf.constant(inputs[spec.name], spec.dtype), spec.shape) for spec in function.input_signature
        ]
        return {name: np.asarray(output) for name, output in function(*given).items()}


def open_source(path: Path, allow_code: bool = False) -> Source:
    """Opens a trained model.

    A stage of a run returns `probabilities` or `logits`, or what its task calls its answers, as the run's own files
    do. So does a classifier of Hugging Face, and any other checkpoint its `last_hidden_state`. Any other model keeps
    its outputs.

    Args:
        path: a SavedModel folder with a signature, a `.keras` or `.h5` file of Keras 2 or 3, a float `.tflite` file, a
            Hugging Face folder (see `tfcompress.models.pretrained.hugging_face.load_whole`), a stage of a run, or the
            working folder of a run, which stands for its last stage. Open a stage with quantization-aware training
            within `tfcompress.optimize.quantization.load_scope`.
        allow_code: also open files that can run code; see `tfcompress.models.safety.check_safe`.

    Raises:
        UserError: there is no such model, it can run code, or its inputs have no fixed shape.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; give {_ACCEPTED}")
    stage = _stage(path)
    if stage is not None:
        return _open_stage(stage, allow_code)
    if (path / "saved_model.pb").is_file():
        return _of_function(serve_saved_model(path, str(path), allow_code), str(path))
    if (path / "config.json").is_file() or (path / "modules.json").is_file():
        return _open_checkpoint(path)
    if path.is_dir():
        raise UserError(
            f"{path} holds no SavedModel, no Hugging Face model and no finished stage of a run; give {_ACCEPTED}"
        )
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give {_ACCEPTED}") from error
    if h5py.is_hdf5(path) or (zipfile.is_zipfile(path) and not has_suffix(path, ".tflite")):
        with native_libraries_quiet():
            model = saved.load(path, allow_code)
        return of_model(model, str(path))
    if has_suffix(path, ".tflite"):
        content = path.read_bytes()
        return Source(str(path), content=_with_signature(content, str(path)))
    raise UserError(f"{path} is not a model file that can be read; give {_ACCEPTED}")


def of_model(model: Any, name: str = "") -> Source:
    """Makes a source of a model of tf_keras or Keras 3.

    Raises:
        UserError: its inputs are unknown or have no fixed shape.
    """
    name = name or model.name
    source = _of_function(serve_model(model, name), name)
    functional = library(model) is tf_keras and getattr(model, "inputs", None)
    return replace(source, description=_description_of_pixels(model)) if functional else source


def _of_function(serving: ServingFunction, name: str) -> Source:
    return Source(name, serving, quantized=serving.fake_quantizes)


def _description_of_pixels(model: tf_keras.Model) -> Description | None:
    """Returns what a model says of its pictures by scaling them, or None if it does not."""
    pixels = pixel_range_of(model)
    return None if pixels is None else Description(model.name, input=ImageInput.of_range(*pixels))


def _stage(path: Path) -> Path | None:
    """Returns the folder of a stage for a path to it, to its model, or to a working folder, whose last stage it is."""
    if path.name == "model.h5":
        path = path.parent
    if (path / "stages").is_dir():
        path = max((record.parent for record in path.glob("stages/*/stage.json")), default=path)
    return path if (path / "stage.json").is_file() and (path / "model.h5").is_file() else None


def _open_stage(folder: Path, allow_code: bool) -> Source:
    model = saved.load(folder / "model.h5", allow_code)
    run, record = folder.parent.parent / "run.json", folder / "stage.json"
    with reading_from(run, "repeat the run in another folder"):
        settings: dict[str, Any] = read_json(run) if run.is_file() else {}
        logits = bool(settings.get("export", {}).get("logits", False))
    with reading_from(record, f"delete {folder}, and repeat the run's command"):
        # Runs of earlier versions kept no outputs, and at most one name of answers.
        kept = read_json(record)
        outputs, names = Outputs(kept["outputs"]) if kept.get("outputs") else None, kept.get("answers", "probabilities")
        names = names.split() if isinstance(names, str) else names
    serving = serve_answers(model, logits, outputs=outputs, names=names)
    quantized = serving.fake_quantizes
    if quantized:
        serving = serve_answers(model, logits, True, outputs, names)
    return Source(str(folder), serving, b"", quantized, _description(model, folder, settings.get("data set", {})))


def _open_checkpoint(folder: Path) -> Source:
    found = hugging_face.load_whole(folder)
    model, labels = found.model, () if are_placeholders(found.labels) else found.labels
    takes: ImageInput | TextInput | None = None
    if found.text is not None and found.text.own_tokenizer:
        console.print(
            f"{folder} {found.text.own_tokenizer}, but phones cut texts as BERT does: the file gets no vocabulary",
            soft_wrap=True,
        )
    pictures = len(model.inputs[0].shape) == 4
    if pictures:
        takes = ImageInput.of_range(0.0, 1.0)
    elif found.vocabulary:
        takes = TextInput(found.vocabulary, found.lowercase, found.strip_accents)
    description = Description(folder.resolve().name, "", labels, takes)
    if found.task is None:
        serving = serve_model(model, str(folder))
    else:
        task = KINDS[found.task]
        serving = serve_answers(model, outputs=_BEFORE[task.end], names=[task.answers])
        text = describe_task(task.name, "images" if pictures else "texts", model.outputs[0].shape[-1])
        description = replace(description, text=text.rstrip(), task=task.name)
    return Source(str(folder), serving, description=description)


def _description(model: tf_keras.Model, folder: Path, data: dict[str, Any]) -> Description:
    takes: ImageInput | TextInput | LookupInput | None = None
    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.load(folder)
        pairs = bool(data.get("pairs"))
        takes = TextInput(tokenizer.vocabulary, tokenizer.lowercase, tokenizer.strip_accents, pairs)
    elif (folder / lookup.FILE).is_file():
        takes = LookupInput(Lookup.load(folder).describe())
    elif len(model.inputs) == 1 and len(model.inputs[0].shape) == 4:
        takes = ImageInput.of_range(*data.get("pixel_range", (0.0, 1.0)))
    classes = tuple(data.get("classes", ()))
    labels = classes if model.outputs[0].shape[-1] == len(classes) else ()
    task = data.get("task", "classification") if data else ""
    text = describe_task(task, data["name"], len(classes)) if data else ""
    return Description(model.name, f"{text}Stage {folder.name.partition('-')[2]}.", labels, takes, task)


def _with_signature(content: bytes, name: str) -> bytes:
    """Returns a `.tflite` file with a signature and with operator codes that every reader understands.

    Raises:
        UserError: the file is damaged or has no outputs.
    """
    model = read(content, name)
    return with_attached_files(content, write(model)) if complete(model, name) else content
