"""Converts a trained model to a `.tflite` file in a chosen format.

python tools/convert.py --model=out/demo/stages/00-base --output=out/dynamic.tflite --to=dynamic
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from tfcompress.cli.files import convert
from tfcompress.cli.program import as_user_sees

_MODEL = flags.DEFINE_string("model", None, "What `tfcompress convert` takes.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "The .tflite file to write.", required=True)
_TO = flags.DEFINE_string("to", None, "float32, float16, dynamic, int8, int8-full, int4, or a .json.", required=True)
_CALIBRATION = flags.DEFINE_string("calibration", None, "NAME, NAME:PATH or FILE.npz: examples for int8 and int8-full.")
_EXAMPLES = flags.DEFINE_integer("examples", 256, "The largest number of calibration examples.")
_PER_CHANNEL = flags.DEFINE_bool("per_channel", None, "One scale per output of a layer, or one per tensor.")
_MIN_RUNTIME = flags.DEFINE_string(
    "min_runtime", None, "The oldest TFLite version that must run the file, such as 2.16."
)
_ALLOW_CODE = flags.DEFINE_bool("allow_code", False, "Also open model files that can run code.")
_IMPORT = flags.DEFINE_multi_string("import", [], "Import a module with the model's own layers first.")


def main(_: list[str]) -> None:
    """Converts and prints what was written."""
    with as_user_sees():
        convert(
            Path(_MODEL.value),
            Path(_OUTPUT.value),
            _TO.value,
            _CALIBRATION.value,
            _EXAMPLES.value,
            _PER_CHANNEL.value,
            _MIN_RUNTIME.value,
            _ALLOW_CODE.value,
            _IMPORT.value,
        )


if __name__ == "__main__":
    app.run(main)
