"""Quantizing a float `.tflite` after training, by ai-edge-quantizer.

What is added to it: tables that a GATHER looks rows up in become int8 too; ranges are the extremes over all examples
instead of a moving average, which halved the mean error of a ViT and a BERT; and the file states which versions of its
operators it needs. ai-edge-quantizer leaves the float model's, so that older runtimes load what they cannot run: TFLite
2.14 and 2.16 crash on its int4, or give random answers.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import numpy.typing as npt
from ai_edge_quantizer import calibrator, quantizer
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils import progress_utils, qsv_utils

from tfcompress import progress
from tfcompress.errors import UserError, first_line
from tfcompress.export.float16 import to_float16
from tfcompress.tflite.graph import Operator
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import requirement, state_runtime
from tfcompress.tflite.writing import write

Format = Literal["float16", "dynamic", "int8", "int8-full", "int4"]
Recipe = list[dict[str, Any]]
"""ai-edge-quantizer's own: rules as JSON holds them."""

Arrays = dict[str, npt.NDArray[Any]]

_CONVOLUTIONS = (
    TFLOperationName.CONV_2D,
    TFLOperationName.DEPTHWISE_CONV_2D,
    TFLOperationName.CONV_2D_TRANSPOSE,
)
_FLOAT_IN_FULL = (TFLOperationName.INPUT, TFLOperationName.OUTPUT, TFLOperationName.DIV)
"""What `int8-full` leaves float: inputs and outputs, so that they mean what they did, and DIV, which is new in int8."""

_HALF_BYTE_VERSION, _BLOCKS_VERSION = 13, 14
"""FULLY_CONNECTED with 4-bit weights and float input: versions that runtimes lack which compute it wrongly.

TensorFlow's own list has none. Measured with scales an output: wrong in TFLite 2.14, 2.16 and LiteRT 1.0, right from
1.2 on; with scales a block: wrong up to 2.0, right in 2.3.
"""

_WHAT_QUANTIZER_RAISES = (ValueError, RuntimeError, KeyError, TypeError, IndexError, NotImplementedError)


def quantize(
    content: bytes, to: Format | Recipe, calibration: Sequence[Arrays] | None = None, per_channel: bool = False
) -> bytes:
    """Returns the file in another format; inputs and outputs stay float, unless a recipe says otherwise.

    Args:
        content: of a float `.tflite` with a signature.
        to: `dynamic` has int8 weights and quantizes activations at run time, `int8` has both from the start in dense
            layers, convolutions and tables, `int8-full` in every operator; `int4` is `dynamic` with 4-bit weights.
        calibration: inputs by name, with a batch axis of one, for what `needs_calibration`.
        per_channel: a scale for each output of a layer instead of one; `int4` always has that.

    Raises:
        UserError: the file is quantized already, holds nothing to quantize, or the quantizer cannot.
    """
    check_float(content)
    if to == "float16":
        return to_float16(content)
    manager = _manager(content, to, per_channel)
    if not manager.need_calibration():
        ranges = None
    elif isinstance(to, str) and not needs_calibration(to):
        # Tables alone: their ranges are their own, but the quantizer wants to have seen an example.
        ranges = _ranges(content, manager, [_zeros(content)], True)
    elif not calibration:
        raise UserError(f"{to if isinstance(to, str) else 'this recipe'} needs examples to calibrate with")
    else:
        ranges = _ranges(content, manager, calibration, isinstance(to, str))
    with _quantizing():
        quantized = quantizer.Quantizer(content, manager.get_quantization_recipe())
        found = bytes(quantized.quantize(ranges, enable_progress_report=False).quantized_model)
    if _quantized_tensor(found) is None:
        raise UserError("the model has no weights that this format quantizes; convert it to float32 or float16")
    return _with_versions(found)


def needs_calibration(to: str | Recipe) -> bool:
    """Tells whether a format or recipe quantizes activations beforehand."""
    if isinstance(to, str):
        return to in ("int8", "int8-full")
    manager = RecipeManager()
    manager.load_quantization_recipe(to)
    return bool(manager.need_calibration())


def load_recipe(path: Path) -> Recipe:
    """Reads a recipe of ai-edge-quantizer from JSON.

    Raises:
        UserError: it is none.
    """
    try:
        recipe: Recipe = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(recipe, list) or not recipe:
            raise TypeError(f"it holds {recipe!r:.60}")
        RecipeManager().load_quantization_recipe(recipe)
    except (OSError, *_WHAT_QUANTIZER_RAISES) as error:
        raise UserError(
            f"{path} is no recipe of ai-edge-quantizer: {_reason(error)}; it is a JSON list of rules with regex, "
            "operation, algorithm_key and op_config"
        ) from error
    return recipe


def check_float(content: bytes) -> None:
    """Raises a `UserError` for a file that is quantized, or stored in float16."""
    if (found := _quantized_tensor(content)) is not None:
        raise UserError(f"the file is quantized already: {found}; convert the float32 model that it was made from")


def _quantized_tensor(content: bytes) -> str | None:
    tensors = [tensor for graph in read(content).graphs for tensor in graph.tensors]
    for tensor in sorted(tensors, key=lambda tensor: not len(tensor.data)):  # weights first
        if len(tensor.scales) or tensor.scale_tensors or (tensor.dtype == "float16" and len(tensor.data)):
            return f"{tensor.name} is {tensor.dtype}"
    return None


def _manager(content: bytes, to: Format | Recipe, per_channel: bool) -> RecipeManager:
    """Returns the rules for a format; where several fit an operator, the last that it supports wins."""
    manager = RecipeManager()
    if not isinstance(to, str):
        manager.load_quantization_recipe(to)
        return manager
    granularity = QuantGranularity.CHANNELWISE if per_channel else QuantGranularity.TENSORWISE
    every, embedding = TFLOperationName.ALL_SUPPORTED, TFLOperationName.EMBEDDING_LOOKUP
    if to in ("dynamic", "int4"):
        manager.add_dynamic_config(".*", every, 8, granularity)
        for operation in _CONVOLUTIONS:  # LiteRT computes them wrongly with one scale.
            manager.add_dynamic_config(".*", operation, 8, QuantGranularity.CHANNELWISE)
    if to == "int4":  # OCTAV clips outliers: the best of four ways on a ViT and a BERT.
        dense, half_byte = TFLOperationName.FULLY_CONNECTED, AlgorithmName.OCTAV
        manager.add_dynamic_config(".*", dense, 4, QuantGranularity.CHANNELWISE, half_byte)
    if to == "int8":
        manager.add_dynamic_config(".*", embedding, 8, granularity)
        for operation in (TFLOperationName.FULLY_CONNECTED, *_CONVOLUTIONS):
            manager.add_static_config(".*", operation, 8, 8, granularity)
    if to == "int8-full":
        manager.add_static_config(".*", every, 8, 8, granularity)
        for operation in _FLOAT_IN_FULL:
            manager.add_quantization_config(".*", operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
    for name in _tables(content):
        gather, one = TFLOperationName.GATHER, QuantGranularity.TENSORWISE
        manager.add_static_config(f"^{re.escape(name)}", gather, 8, 8, one)
    return manager


def _tables(content: bytes) -> list[str]:
    """Returns the names of what is looked up in constant tables, by which the quantizer knows an operator."""
    return [
        operator.outputs[0].name
        for operator in read(content).operators()
        if operator.kind == "GATHER" and operator.outputs and operator.inputs and len(operator.inputs[0].data)
    ]


def _zeros(content: bytes) -> Arrays:
    """Returns one example of zeros: ids that every table has."""
    inputs = read(content).signatures[0].inputs
    return {name: np.zeros([abs(size) for size in tensor.shape], tensor.dtype) for name, tensor in inputs.items()}


def _ranges(content: bytes, manager: RecipeManager, examples: Sequence[Arrays], extremes: bool) -> Any:
    """Runs the model and returns the ranges of its tensors."""
    update = {"qsv_update_func": qsv_utils.min_max_update} if extremes else {}
    with _quantizing():
        watching = calibrator.Calibrator(content, num_threads=2, **update)
        watching.calibrate({read(content).signatures[0].name: examples}, manager)
        return watching.get_model_qsvs()


@contextlib.contextmanager
def _quantizing() -> Iterator[None]:
    """Shows the quantizer's progress our way, hides what it prints, and puts its errors into words."""
    try:
        with (
            mock.patch.object(progress_utils, "ProgressBar", _Bar),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore", UserWarning)
            yield
    except _WHAT_QUANTIZER_RAISES as error:
        raise UserError(f"ai-edge-quantizer cannot quantize this model: {_reason(error)}") from error


class _Bar(progress.Bar):
    """A progress bar where ai-edge-quantizer wants its own."""

    def __init__(self, total_steps: int, description: str = "", *_: Any, **__: Any) -> None:
        super().__init__(description.rstrip(":").lower() or "quantizing", total_steps)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update_single_step(self) -> None:
        """Counts a step."""
        self.advance()


def _with_versions(content: bytes) -> bytes:
    """States the operators' versions that the weights need, and the runtime that has them."""
    model = read(content)
    for operator in model.operators():
        operator.code.version = max(operator.code.version, _version(operator))
    state_runtime(model, at_least_as_before=True)
    return write(model)


def _version(operator: Operator) -> int:
    if operator.kind == "FULLY_CONNECTED" and operator.inputs[0].dtype == "float32":
        weights = operator.inputs[1]
        if weights.dtype == "int4":
            return _BLOCKS_VERSION if weights.scale_tensors else _HALF_BYTE_VERSION
    return requirement(operator).version


def _reason(error: Exception) -> str:
    return first_line(error).rstrip(".")
