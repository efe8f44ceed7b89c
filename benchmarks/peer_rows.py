"""The files of `training_free.py` that need the packages of the extra `bench`: int8 of OpenVINO and of ONNX Runtime."""

from __future__ import annotations

import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import OnnxRuntime, OpenVino
from benchmarks.training_free_tasks import Made, Task
from tfcompress.measure.interpreter import Runner

_CLOSE = 1e-4
"""How far the output of ONNX Runtime's float model may be from LiteRT's, of the largest."""
_COMPARED = 4


def openvino_int8(_: bytes, task: Task) -> Made:
    """Lets OpenVINO read the float32 file, and NNCF quantize it with all calibration examples, as a transformer.

    NNCF halves the range of weights where they overflow, if it is told to: that is half of the divergence on DeiT-Tiny.
    """
    openvino, nncf = import_module("openvino"), import_module("nncf")
    model = openvino.Core().read_model(str(task.float32))
    ports = OpenVino(task.float32).ports
    batches = [
        [np.array(example[name], kind).reshape(shape) for name, (shape, kind) in ports.items()]
        for example in task.calibration
    ]
    fix = nncf.OverflowFix.ENABLE if _overflows() else nncf.OverflowFix.DISABLE
    made = nncf.quantize(
        model,
        nncf.Dataset(batches),
        subset_size=len(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.xml"
        openvino.save_model(made, str(file), compress_to_fp16=False)
        parts = {suffix: file.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}
    return {"OpenVINO, NNCF int8": parts}


def onnx_runtime_int8(_: bytes, task: Task) -> Made:
    """Converts the Keras model by tf2onnx, and quantizes its weights to 8 bits with a scale per output.

    Weights are unsigned where signed ones overflow, as ONNX Runtime's documentation advises: that is a tenth of the
    divergence on DeiT-Tiny, for the same bytes.

    Raises:
        RuntimeError: the float model does not give what the float32 file gives.
    """
    onnx, quantization = import_module("onnx"), import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory() as name:
        float32, prepared, int8 = (Path(name) / f"{step}.onnx" for step in ("float32", "prepared", "int8"))
        onnx.save(_as_onnx(task), float32)
        _check_same(float32, task)
        import_module("onnxruntime.quantization.shape_inference").quant_pre_process(
            str(float32), str(prepared), skip_symbolic_shape=True
        )
        kind = quantization.QuantType.QUInt8 if _overflows() else quantization.QuantType.QInt8
        quantization.quantize_dynamic(str(prepared), str(int8), weight_type=kind, per_channel=True)
        return {"ONNX Runtime, dynamic int8": {".onnx": int8.read_bytes()}}


def _as_onnx(task: Task) -> Any:
    """Returns the function that the float32 file was made from as a model of ONNX."""
    from tfcompress.commands.convert import open_model  # Imports TensorFlow.

    serving = open_model(task.source(), allow_code=False).serving
    assert serving is not None
    model, _ = import_module("tf2onnx").convert.from_function(
        serving.function, serving.function.input_signature, opset=17, custom_op_handlers={"Erfc": (_erfc, [])}
    )
    return model


def _erfc(context: Any, node: Any, *_: object) -> list[Any]:
    """Writes 1 - erf(x) for erfc(x), which ONNX does not have and TensorFlow's GELU uses."""
    utils = import_module("tf2onnx.utils")
    node.domain, node.type = "", "Erf"
    (output,) = node.output
    one = context.make_const(utils.make_name("one"), np.array(1, np.float32))
    difference = context.insert_new_node_on_output(
        "Sub", output, inputs=[one.output[0], output], name=utils.make_name("erfc")
    )
    return [node, difference]


def _check_same(file: Path, task: Task) -> None:
    found, expected = OnnxRuntime(file), Runner(task.float32)
    for example in task.examples[:_COMPARED]:
        wanted = expected.run(example)
        difference = float(np.abs(found.run(example) - wanted).max() / np.abs(wanted).max())
        if not difference <= _CLOSE:
            raise RuntimeError(f"ONNX Runtime's float output differs by {difference:.1g} of the largest from LiteRT's")


def _overflows() -> bool:
    """Returns whether this x86 processor adds up products of int8 in 16 bits, because it lacks VNNI."""
    return "vnni" not in Path("/proc/cpuinfo").read_text()


NEEDED = {"openvino-int8": ("openvino", "nncf"), "onnx-runtime-int8": ("onnxruntime", "tf2onnx", "onnx")}
"""The packages of each row."""


def lacking(row: str) -> str:
    """Returns a line that says which package a row needs and how to get it; empty if there is none that is missing."""
    missing = [package for package in NEEDED.get(row, ()) if find_spec(package) is None]
    return f"{row}: skipped, because it needs {', '.join(missing)}: pip install 'tfcompress[bench]'" * bool(missing)
