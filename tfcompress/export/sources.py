"""What can be converted: a trained model, by the file or folder that holds it."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.data.tokenizer import Tokenizer
from tfcompress.errors import UserError, first_line
from tfcompress.export.converter import Served, serve_classifier, serve_model
from tfcompress.files import read_json
from tfcompress.models import saved
from tfcompress.models.safety import check_safe
from tfcompress.quiet import native_libraries_quiet
from tfcompress.tflite.graph import Signature
from tfcompress.tflite.metadata import Description, ImageInput, TextInput
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write

Arrays = dict[str, npt.NDArray[Any]]

KINDS = (
    "a SavedModel folder, a .h5 or .keras file, a float .tflite, or a run's working folder or one of its stages "
    "(workdir/stages/NN-name)"
)
"""What `open_source` takes, for errors."""


@dataclass(frozen=True, eq=False)
class Source:
    """A model that can be converted; it has either `served` or `content`.

    Attributes:
        name: for messages.
        served: its function; None of a `.tflite`.
        content: of a `.tflite`; else empty.
        quantized: whether it went through quantization-aware training.
        description: what is known of it beyond its graph: a run's stage knows its classes and tokenizer.
    """

    name: str
    served: Served | None = None
    content: bytes = b""
    quantized: bool = False
    description: Description | None = None

    def run(self, inputs: Arrays) -> Arrays:
        """Returns the outputs by name for inputs with a batch axis of one; not of a `.tflite`."""
        assert self.served is not None
        function = self.served.function
        given = [tf.constant(inputs[spec.name], spec.dtype) for spec in function.input_signature]
        return {name: np.asarray(output) for name, output in function(*given).items()}


def open_source(path: Path, allow_code: bool = False) -> Source:
    """Opens a model.

    A run's stage gives `probabilities`, as the run's own files do; all others give what they give.

    Args:
        path: see `KINDS`. A `.keras` or `.h5` file may be of Keras 2 or 3, a SavedModel of any origin with a signature.
            A stage with quantization-aware training is opened within `tfcompress.optimize.quantization.load_scope`.
        allow_code: also open a file that can run code, see `tfcompress.models.safety.check_safe`.

    Raises:
        UserError: there is no such model, or it can run code, or its inputs have no fixed shape.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name {KINDS}")
    stage = _stage(path)
    if stage is not None:
        return _open_stage(stage, allow_code)
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path, str(path), allow_code)
    if path.is_dir():
        raise UserError(f"{path} holds neither a SavedModel nor a run's finished stage; name {KINDS}")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name {KINDS}") from error
    if h5py.is_hdf5(path) or (zipfile.is_zipfile(path) and path.suffix != ".tflite"):
        return _open_keras(path, allow_code)
    if path.suffix == ".tflite":
        content = path.read_bytes()
        return Source(str(path), content=_with_signature(content, str(path)))
    raise UserError(f"{path} is no model file that can be read; name {KINDS}")


def of_model(model: tf_keras.Model, name: str = "") -> Source:
    """Makes a source of a functional or sequential tf_keras model.

    Raises:
        UserError: it has no fixed inputs; a subclassed model can be exported as a SavedModel instead.
    """
    if not getattr(model, "inputs", None):
        raise UserError(f"model {model.name} has no inputs of known shape; call `model.export(folder)`, convert that")
    _check_shapes({x.node.layer.name: tuple(x.shape[1:]) for x in model.inputs}, name or model.name)
    served = serve_model(model)
    return Source(name or model.name, served, quantized=served.fake_quantizes)


def _stage(path: Path) -> Path | None:
    """Returns the folder of the stage that a path means: the stage, its model, or the last one of a working folder."""
    if path.name == "model.h5":
        path = path.parent
    if (path / "stages").is_dir():
        path = max((record.parent for record in path.glob("stages/*/stage.json")), default=path)
    return path if (path / "stage.json").is_file() and (path / "model.h5").is_file() else None


def _open_stage(folder: Path, allow_code: bool) -> Source:
    model = saved.load(folder / "model.h5", allow_code)
    run = folder.parent.parent / "run.json"
    settings: dict[str, Any] = read_json(run) if run.is_file() else {}
    logits = bool(settings.get("export", {}).get("logits", False))
    served = serve_classifier(model, logits)
    quantized = served.fake_quantizes
    if quantized:
        served = serve_classifier(model, logits, quantized=True)
    return Source(str(folder), served, b"", quantized, _description(model, folder, settings.get("data set", {})))


def _description(model: tf_keras.Model, folder: Path, data: dict[str, Any]) -> Description:
    takes: ImageInput | TextInput | None = None
    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.load(folder)
        takes = TextInput(tokenizer.vocabulary, tokenizer.lowercase)
    elif len(model.inputs) == 1 and len(model.inputs[0].shape) == 4:
        takes = ImageInput()
    labels = tuple(data.get("classes", ()))
    text = f"Classifies {data['name']} into {len(labels)} classes. " if labels else ""
    return Description(model.name, f"{text}Stage {folder.name.partition('-')[2]}.", labels, takes)


def _open_keras(path: Path, allow_code: bool) -> Source:
    if _keras_version(path).startswith("3."):
        return _open_keras_3(path, allow_code)
    return of_model(saved.load(path, allow_code), str(path))


def _keras_version(path: Path) -> str:
    """Returns the version of Keras that wrote a file, or an empty string."""
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                return str(file.attrs.get("keras_version", ""))
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, KeyError, ValueError):
        return ""


def _open_keras_3(path: Path, allow_code: bool) -> Source:
    """Loads a file of Keras 3 and lets it write a SavedModel."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with native_libraries_quiet():
        import keras

    try:
        if not allow_code:
            check_safe(path)
        model = keras.models.load_model(path, compile=False, safe_mode=not allow_code)
        with tempfile.TemporaryDirectory() as folder:
            model.export(folder, verbose=False)
            # Of Keras's own file, which has been checked.
            return _open_saved_model(Path(folder), str(path), allow_code=True)
    except UserError:
        raise
    except (AttributeError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be loaded as a Keras 3 model: {first_line(error)}") from error


def _open_saved_model(path: Path, name: str, allow_code: bool) -> Source:
    """Opens the signature of a SavedModel; the Python classes behind it are not needed."""
    try:
        if not allow_code:
            check_safe(path)
        with native_libraries_quiet():
            loaded = tf.saved_model.load(str(path))
        signatures = loaded.signatures
    except UserError:
        raise
    except (AttributeError, KeyError, OSError, TypeError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{name} cannot be loaded as a SavedModel: {first_line(error)}") from error
    if "serving_default" not in signatures and len(signatures) != 1:
        raise UserError(
            f"{name} has the signatures {', '.join(signatures) or 'none'}; a SavedModel needs one called "
            "serving_default, or only one"
        )
    signature = signatures["serving_default" if "serving_default" in signatures else next(iter(signatures))]
    specs = dict(
        sorted(signature.structured_input_signature[1].items())
    )  # Their order changes from process to process.
    _check_shapes({key: _behind_batch(spec) for key, spec in specs.items()}, name)
    batch_one = [tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, key) for key, spec in specs.items()]

    @tf.function(input_signature=batch_one, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = signature(**dict(zip(specs, inputs, strict=True)))
        return outputs

    served = Served(serve, loaded, name)
    return Source(name, served, quantized=served.fake_quantizes)


def _with_signature(content: bytes, name: str) -> bytes:
    """Returns a `.tflite` with a signature, which names inputs and outputs as their tensors if it has none."""
    model = read(content, name)
    if model.signatures:
        return content
    graph = model.graphs[0]
    inputs, outputs = ({_plain(tensor.name): tensor for tensor in ends} for ends in (graph.inputs, graph.outputs))
    model.signatures.append(Signature("serving_default", graph, inputs, outputs))
    return write(model)


def _plain(tensor: str) -> str:
    """Returns a tensor's name without what TensorFlow's converter puts around it."""
    return tensor.removeprefix("serving_default_").removesuffix(":0")


def _behind_batch(spec: tf.TensorSpec) -> tuple[int | None, ...]:
    if spec.dtype == tf.string or not spec.shape.rank or spec.shape[0] not in (None, 1):
        return (None,)
    return tuple(spec.shape[1:])


def _check_shapes(inputs: dict[str, tuple[int | None, ...]], name: str) -> None:
    for key, shape in inputs.items():
        if None in shape:
            raise UserError(
                f"{name}: input {key} must be a tensor of numbers, with a batch that is free or one, and fixed shape "
                "behind it; export the model so"
            )
