"""Converts a trained model to all our formats and with litert-quantizer's quantizer recipes, for comparison.

python benchmarks/formats.py --model=out/demo/stages/00-base --data=digits --output=out/formats
tfcompress compare out/formats/{float32,float16,dynamic,int*,peer-*}.tflite out/demo/model.tflite --data digits
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from litert_quantizer import quantizer, recipe

from tfcompress.commands.convert import convert_file
from tfcompress.commands.examples import examples_for
from tfcompress.export.formats import FORMATS
from tfcompress.files import atomic_write
from tfcompress.measure.interpreter import Runner

_MODEL = flags.DEFINE_string("model", "out/demo/stages/00-base", "The folder of a float stage of a run.")
_DATA = flags.DEFINE_string("data", "digits", "The data set for calibration: NAME or NAME:PATH.")
_OUTPUT = flags.DEFINE_string("output", "out/formats", "The folder to write to.")

_EXAMPLES = 256
_PEERS = {
    "peer-static-int8": recipe.static_wi8_ai8(),
    "peer-dynamic-int8": recipe.dynamic_wi8_afp32(),
    "peer-dynamic-int4": recipe.dynamic_wi4_afp32(),
}
"""litert-quantizer's quantizer recipes by the name of the file that each produces."""


def main(arguments: Sequence[str]) -> None:
    """Writes one file per format and per quantizer recipe."""
    if len(arguments) > 1:
        raise app.UsageError(f"unknown arguments {arguments[1:]}; accepted are --model, --data and --output")
    output = Path(_OUTPUT.value)
    for to in FORMATS:
        print(convert_file(_MODEL.value, output / f"{to}.tflite", to, _DATA.value, _EXAMPLES))
    float32 = output / "float32.tflite"
    name, _, path = _DATA.value.partition(":")
    feeds, *_ = examples_for([float32], name, Path(path) if path else None, _EXAMPLES, "train")
    named = [x if isinstance(x, dict) else dict.fromkeys(Runner(float32).inputs, x) for x in feeds[float32]]
    batches = [{key: np.asarray(x)[None] for key, x in example.items()} for example in named]
    for peer, rules in _PEERS.items():
        quantized = quantizer.Quantizer(str(float32), rules)
        ranges = quantized.calibrate({"serving_default": batches}) if quantized.need_calibration else None
        with atomic_write(output / f"{peer}.tflite") as temporary:
            temporary.write_bytes(bytes(quantized.quantize(ranges).quantized_model))


if __name__ == "__main__":
    app.run(main)
