"""A trained model in every format of ours, and by ai-edge-quantizer's own recipes, for `tfcompress compare`.

python benchmarks/formats.py --model=out/demo/stages/00-base --data=digits --output=out/formats
tfcompress compare out/formats/{float32,float16,dynamic,int*,peer-*}.tflite out/demo/model.tflite --data digits
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from ai_edge_quantizer import quantizer, recipe

from tfcompress.commands.convert import convert_file
from tfcompress.commands.examples import examples_for
from tfcompress.export.formats import FORMATS
from tfcompress.files import written_whole
from tfcompress.measure.interpreter import Runner

_MODEL = flags.DEFINE_string("model", "out/demo/stages/00-base", "A float stage of a run.")
_DATA = flags.DEFINE_string("data", "digits", "The data set to calibrate with: NAME or NAME:PATH.")
_OUTPUT = flags.DEFINE_string("output", "out/formats", "The folder to write to.")

_EXAMPLES = 256
_PEERS = {
    "peer-static-int8": recipe.static_wi8_ai8(),
    "peer-dynamic-int8": recipe.dynamic_wi8_afp32(),
    "peer-dynamic-int4": recipe.dynamic_wi4_afp32(),
}
"""ai-edge-quantizer's recipes by the name of the file they give."""


def main(arguments: Sequence[str]) -> None:
    """Writes one file a format and a peer's recipe."""
    if len(arguments) > 1:
        raise app.UsageError(f"unknown arguments {arguments[1:]}; --model, --data and --output are what it takes")
    output = Path(_OUTPUT.value)
    for to in FORMATS:
        print(convert_file(_MODEL.value, output / f"{to}.tflite", to, _DATA.value, _EXAMPLES))
    whole = output / "float32.tflite"
    name, _, path = _DATA.value.partition(":")
    feeds, _ = examples_for([whole], name, Path(path) if path else None, _EXAMPLES, "train")
    named = [x if isinstance(x, dict) else dict.fromkeys(Runner(whole).inputs, x) for x in feeds[whole]]
    batches = [{key: np.asarray(x)[None] for key, x in example.items()} for example in named]
    for peer, rules in _PEERS.items():
        quantized = quantizer.Quantizer(str(whole), rules)
        ranges = quantized.calibrate({"serving_default": batches}) if quantized.need_calibration else None
        with written_whole(output / f"{peer}.tflite") as beside:
            beside.write_bytes(bytes(quantized.quantize(ranges).quantized_model))


if __name__ == "__main__":
    app.run(main)
