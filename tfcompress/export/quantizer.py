"""Post-training quantization of a float `.tflite` file with litert-quantizer.

This module adds three things to it:

- Tables that a GATHER looks rows up in become int8 too.
- Ranges are the extremes over all examples, not a moving average, which halved the mean error of a ViT and a BERT.
- The file states the operator versions that it needs. litert-quantizer keeps the versions of the float model, so older
  runtimes load files that they cannot run: TFLite 2.14 and 2.16 crash on its int4 weights or return random outputs.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from litert_quantizer import calibrator, quantizer
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.qtyping import QuantGranularity, TFLOperationName
from litert_quantizer.recipe_manager import RecipeManager
from litert_quantizer.utils import progress_utils, qsv_utils, tfl_interpreter_utils

from tfcompress import progress
from tfcompress.errors import UserError, first_line
from tfcompress.export.float16 import to_float16
from tfcompress.export.formats import CALIBRATED_FORMATS, Format
from tfcompress.names import distinct_names
from tfcompress.tflite.damage import DAMAGE_ERRORS
from tfcompress.tflite.graph import Operator, reshape
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import requirement, state_runtime
from tfcompress.tflite.signatures import fed_shape, signed_inputs
from tfcompress.tflite.tensor import Array, Tensor
from tfcompress.tflite.writing import write

QuantizerRecipe = list[dict[str, Any]]
"""A recipe of litert-quantizer: its rules, as they are in JSON."""

Arrays = dict[str, Array]

_CONVOLUTIONS = (
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.CONV_2D_TRANSPOSE,
)
_FLOAT_IN_INT8_FULL = (
    TFLOperationName.INPUT,
    TFLOperationName.OUTPUT,
    TFLOperationName.DIV,
    TFLOperationName.STABLEHLO_COMPOSITE,
)
"""What `int8-full` leaves float32: inputs and outputs, whose meaning must not change; DIV, which only new runtimes have
in int8; and composites, which the quantizer makes int8 outside and partly float32 inside, so that LiteRT computes them
wrongly or aborts."""

_INT4_VERSION, _BLOCKWISE_INT4_VERSION = 13, 14
"""FULLY_CONNECTED versions for int4 weights with float input, which no runtime has that computes them wrongly.

TensorFlow's own list has no entry for this case, so it was measured. With one scale per output, TFLite 2.14, TFLite
2.16 and LiteRT 1.0 are wrong and LiteRT 1.2 is right; with one scale per block, 2.0 is still wrong and 2.3 is right.
"""

_QUANTIZER_ERRORS = (*DAMAGE_ERRORS, RuntimeError)
"""What litert-quantizer raises for models and recipes that it cannot handle."""


def quantize(
    content: bytes,
    to: Format | QuantizerRecipe,
    calibration: Sequence[Arrays] | Mapping[str, Sequence[Arrays]] | None = None,
    per_channel: bool = False,
) -> bytes:
    """Quantizes a float file. Its inputs and outputs stay float32 unless a quantizer recipe says otherwise.

    Args:
        content: of a float32 `.tflite` file with a signature.
        to: a format, see `tfcompress.export.formats`, or a quantizer recipe.
        calibration: examples as dictionaries of inputs by name, each with a batch axis of length 1, of the signature of
            the first graph; or by the name of each signature in `tfcompress.tflite.signatures.signed_inputs`. They are
            required where `needs_calibration` says so.
        per_channel: use one scale per output of a layer instead of one per tensor. `int4` always does.

    Raises:
        UserError: the file is already quantized, has nothing to quantize, or cannot be quantized.
    """
    check_float(content)
    if to == "float16":
        return to_float16(content)
    content = _with_distinct_names(_with_outputs_apart(content) if needs_calibration(to) else content)
    manager = _recipe_manager(content, to, per_channel)
    if not _is_calibrated(manager):
        ranges: object = None
    elif isinstance(to, str) and not needs_calibration(to):
        # Only the tables need ranges, and those do not depend on examples, but the quantizer insists on one.
        ranges = _calibrate(content, manager, _zeros(content), True)
    elif not calibration:
        raise UserError(
            f"{to if isinstance(to, str) else 'this recipe'} needs examples to calibrate with; pass them as calibration"
        )
    else:
        ranges = _calibrate(content, manager, calibration, isinstance(to, str))
    with _quantizing():
        quantized = quantizer.Quantizer(content, manager.get_quantization_recipe())
        found = bytes(quantized.quantize(ranges, enable_progress_report=False).quantized_model)
    if _quantized_tensor(found) is None:
        raise UserError("the model has no weights that this format quantizes; convert it to float32 or float16")
    return _state_versions(found)


def needs_calibration(to: Format | QuantizerRecipe) -> bool:
    """Returns whether a format or quantizer recipe needs examples, to set the ranges of activations in advance."""
    if isinstance(to, str):
        return to in CALIBRATED_FORMATS
    manager = RecipeManager()
    manager.load_quantization_recipe(to)
    return _is_calibrated(manager)


def _is_calibrated(manager: RecipeManager) -> bool:
    """Returns whether rules use examples; without any, OSCAR would do without its statistics and say so in a log."""
    rules = manager.get_quantization_recipe()
    return manager.need_calibration() or any(rule["algorithm_key"] == AlgorithmName.OSCAR for rule in rules)


def load_quantizer_recipe(path: Path) -> QuantizerRecipe:
    """Reads a recipe of litert-quantizer from a JSON file.

    Raises:
        UserError: the file cannot be read or is not such a recipe.
    """
    try:
        recipe: QuantizerRecipe = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(recipe, list) or not recipe:
            raise TypeError(f"it holds {recipe!r:.60}")
        RecipeManager().load_quantization_recipe(recipe)
    except (OSError, *_QUANTIZER_ERRORS) as error:
        raise UserError(
            f"{path} is not a recipe of litert-quantizer: {_reason(error)}; it must be a JSON list of rules with "
            "regex, operation, algorithm_key and op_config"
        ) from error
    return recipe


def check_float(content: bytes) -> None:
    """Raises a `UserError` for a file that is already quantized or stores weights in float16."""
    if (found := _quantized_tensor(content)) is not None:
        raise UserError(f"the file is already quantized: {found}; convert the float32 model that it was made from")


def _quantized_tensor(content: bytes) -> str | None:
    """Returns the name and type of a quantized or float16 tensor, preferably of weights; None if there is none."""
    tensors = [tensor for graph in read(content).graphs for tensor in graph.tensors]
    for tensor in sorted(tensors, key=lambda tensor: not len(tensor.data)):
        if len(tensor.scales) or tensor.scale_tensors or (tensor.dtype == "float16" and len(tensor.data)):
            return f"{tensor.name} is {tensor.dtype}"
    return None


def _with_distinct_names(content: bytes) -> bytes:
    """Returns the file with a name of its own for each tensor of all graphs, without which the quantizer refuses it."""
    model = read(content)
    tensors = [tensor for graph in model.graphs for tensor in graph.tensors]
    names = [tensor.name for tensor in tensors]
    if distinct_names(names, "tensor") == names:
        return content
    for tensor, name in zip(tensors, distinct_names(names, "tensor"), strict=True):
        tensor.name = name
    return write(model)


def _with_outputs_apart(content: bytes) -> bytes:
    """Returns the file with a copy of each float output that is an input as well, or that operators read.

    The quantizer would give such an output out as int8 if a reader takes int8.
    """
    model = read(content)
    for graph in {id(signature.graph): signature.graph for signature in model.signatures}.values():
        apart = {
            tensor: Tensor(f"{tensor.name}_output", tensor.shape, tensor.dtype, free_shape=tensor.free_shape)
            for tensor in graph.outputs
            if tensor.dtype == "float32"
            and tensor.shape
            and tensor.free_shape.count(-1) <= 1  # A RESHAPE can leave one length open.
            and (tensor in graph.inputs or graph.consumers(tensor))
        }
        graph.operators = (*graph.operators, *(reshape(tensor, copy) for tensor, copy in apart.items()))
        graph.outputs = [apart.get(tensor, tensor) for tensor in graph.outputs]
        for signature in model.signatures:
            if signature.graph is graph:
                signature.outputs = {name: apart.get(tensor, tensor) for name, tensor in signature.outputs.items()}
    return write(model)


def _recipe_manager(content: bytes, to: Format | QuantizerRecipe, per_channel: bool) -> RecipeManager:
    """Returns the rules for a format. Where several match an operator, the last one that it supports wins."""
    manager = RecipeManager()
    if not isinstance(to, str):
        manager.load_quantization_recipe(to)
        return manager
    granularity = QuantGranularity.CHANNELWISE if per_channel else QuantGranularity.TENSORWISE
    every, embedding = TFLOperationName.ALL_SUPPORTED, TFLOperationName.EMBEDDING_LOOKUP
    if to in ("dynamic", "int4"):
        manager.add_dynamic_config(".*", every, 8, granularity)
        for operation in _CONVOLUTIONS:  # With one scale per tensor LiteRT computes them wrongly.
            manager.add_dynamic_config(".*", operation, 8, QuantGranularity.CHANNELWISE)
    if to == "int4":  # OCTAV clips outliers; it was the best of four algorithms on a ViT and a BERT.
        dense, clipping = TFLOperationName.FULLY_CONNECTED, AlgorithmName.OCTAV
        manager.add_dynamic_config(".*", dense, 4, QuantGranularity.CHANNELWISE, clipping)
    if to == "int8":
        manager.add_dynamic_config(".*", embedding, 8, granularity)
        for operation in (TFLOperationName.FULLY_CONNECTED, *_CONVOLUTIONS):
            manager.add_static_config(".*", operation, 8, 8, granularity)
    if to == "int8-full":
        manager.add_static_config(".*", every, 8, 8, granularity)
        for operation in _FLOAT_IN_INT8_FULL:
            manager.add_quantization_config(".*", operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
    for operator in _left_float(content) if needs_calibration(to) else ():
        scope = f"^{re.escape(operator.outputs[0].name)};"
        manager.add_quantization_config(scope, every, algorithm_key=AlgorithmName.NO_QUANTIZE)
        if operator.kind == "FULLY_CONNECTED":
            manager.add_dynamic_config(scope, TFLOperationName.FULLY_CONNECTED, 8, granularity)
    for name in _lookup_names(content):
        gather, one = TFLOperationName.GATHER, QuantGranularity.TENSORWISE
        manager.add_static_config(f"^{re.escape(name)}", gather, 8, 8, one)
    return manager


def _left_float(content: bytes) -> Iterator[Operator]:
    """Yields the operators whose activations stay float.

    Of the values within a loop, such as that of an LSTM, calibration sees those of the last step alone. An output that
    nothing reads, such as a part of a SPLIT, is not computed and so has no range, which LiteRT would refuse.
    """
    model = read(content)
    signed = {id(signature.graph) for signature in model.signatures}
    for graph in model.graphs:
        read_by_others = {*graph.outputs, *(tensor for operator in graph.operators for tensor in operator.inputs)}
        for operator in graph.operators:
            if operator.outputs and (id(graph) not in signed or not read_by_others.issuperset(operator.outputs)):
                yield operator


def _lookup_names(content: bytes) -> list[str]:
    """Returns the names of the outputs of GATHERs from constant tables; the quantizer's rules match such names."""
    return [
        operator.outputs[0].name
        for operator in read(content).operators()
        if operator.kind == "GATHER" and operator.outputs and operator.inputs and len(operator.inputs[0].data)
    ]


def _zeros(content: bytes) -> dict[str, list[Arrays]]:
    """Returns an example of zeros for each signature, which as ids are valid for every table."""
    return {
        signature: [{name: np.zeros(fed_shape(tensor), tensor.dtype) for name, tensor in inputs.items()}]
        for signature, inputs in signed_inputs(read(content)).items()
    }


def _calibrate(
    content: bytes,
    manager: RecipeManager,
    examples: Sequence[Arrays] | Mapping[str, Sequence[Arrays]],
    extremes: bool,
) -> object:
    """Runs the model on examples and returns the ranges of its tensors, as the quantizer takes them."""
    update = {"qsv_update_func": qsv_utils.min_max_update} if extremes else {}
    signatures = signed_inputs(read(content))
    given = examples if isinstance(examples, Mapping) else {next(iter(signatures)): examples}
    with _quantizing(), _unread_as_zeros():
        observer = calibrator.Calibrator(content, num_threads=2, **update)
        fed = {
            signature: [
                {name: _fed(row[name], tensor) for name, tensor in signatures[signature].items()} for row in rows
            ]
            for signature, rows in given.items()
        }
        observer.calibrate(fed, manager)
        ranges: object = observer.get_model_qsvs()
        return ranges


def _fed(values: Array, tensor: Tensor) -> Array:
    """Returns the values of an example in the shape of an input: a larger batch has copies, and a scalar no batch."""
    shape = fed_shape(tensor)
    return values.reshape(shape) if not shape else np.broadcast_to(values, shape)


@contextlib.contextmanager
def _quantizing() -> Iterator[None]:
    """Shows the quantizer's progress as our own, hides what it prints, and turns its errors into a `UserError`."""
    try:
        with (
            _our_progress_bar(),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", UserWarning)
            yield
    except _QUANTIZER_ERRORS as error:
        raise UserError(
            f"litert-quantizer cannot quantize this model: {_reason(error)}; choose another format"
        ) from error


@contextlib.contextmanager
def _our_progress_bar() -> Iterator[None]:
    """Replaces the progress bar of litert-quantizer, which has no option for it, while the block runs."""
    original = progress_utils.ProgressBar
    progress_utils.ProgressBar = _Bar
    try:
        yield
    finally:
        progress_utils.ProgressBar = original


@contextlib.contextmanager
def _unread_as_zeros() -> Iterator[None]:
    """Lets litert-quantizer take zeros for an output that nothing reads, which LiteRT does not compute."""
    original = tfl_interpreter_utils.get_tensor_data

    def data(interpreter: Any, details: Mapping[str, Any], *args: Any) -> Array:
        try:
            found: Array = original(interpreter, details, *args)
            return found
        except ValueError:
            return np.zeros(details["shape"], details["dtype"])

    tfl_interpreter_utils.get_tensor_data = data
    try:
        yield
    finally:
        tfl_interpreter_utils.get_tensor_data = original


class _Bar(progress.Bar):
    """A progress bar with the interface of litert-quantizer's own."""

    def __init__(self, total_steps: int, description: str = "", *_: object, **__: object) -> None:
        super().__init__(description.rstrip(":").lower() or "quantizing", total_steps)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update_single_step(self) -> None:
        """Advances the bar by one step."""
        self.advance()


def _state_versions(content: bytes) -> bytes:
    """Returns the file with the operator versions that its weights need, and the runtime that has them."""
    model = read(content)
    for operator in model.operators():
        operator.code.version = max(operator.code.version, _version(operator))
    state_runtime(model, at_least_as_before=True)
    return write(model)


def _version(operator: Operator) -> int:
    """Returns the version that an operator needs for its weights."""
    if operator.kind == "FULLY_CONNECTED" and operator.inputs[0].dtype == "float32":
        weights = operator.inputs[1]
        if weights.dtype == "int4":
            return _BLOCKWISE_INT4_VERSION if weights.scale_tensors else _INT4_VERSION
    return requirement(operator).version


def _reason(error: Exception) -> str:
    return first_line(error).rstrip(".")
