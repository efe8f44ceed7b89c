"""Compares `.tflite` files with the first of them: bytes, time, memory, outputs and quality.

python tools/benchmark.py --files=out/demo/tflite/00-base-float32.tflite,out/demo/model.tflite --data=digits
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from tfcompress.cli.files import compare
from tfcompress.cli.program import as_user_sees

_FILES = flags.DEFINE_list("files", None, ".tflite files; the others are compared with the first.", required=True)
_DATA = flags.DEFINE_string(
    "data", None, "Compare outputs on the test split of this data set; see `tfcompress datasets`."
)
_PATH = flags.DEFINE_string("path", None, "The file or folder of the data set, if it needs one.")
_EXAMPLES = flags.DEFINE_integer("examples", None, "Use only this many examples, the first of the test split.")
_TASK = flags.DEFINE_string("task", None, "What the labels of your own texts are.")
_THREADS = flags.DEFINE_string("threads", "1", "Numbers of threads to measure with, such as 1,2.")
_ROUNDS = flags.DEFINE_integer("rounds", 50, "Number of turns of each file in the latency measurement.")
_JSON = flags.DEFINE_string("json", None, "Write all figures to this file.")
_FROM_PHONE = flags.DEFINE_string("from_phone", None, "The file that the demo app's benchmark shared.")


def main(_: list[str]) -> None:
    """Compares and prints the table."""
    with as_user_sees():
        compare(
            [Path(file) for file in _FILES.value],
            _DATA.value,
            Path(_PATH.value) if _PATH.value else None,
            _EXAMPLES.value,
            _TASK.value,
            _THREADS.value,
            _ROUNDS.value,
            Path(_JSON.value) if _JSON.value else None,
            from_phone=Path(_FROM_PHONE.value) if _FROM_PHONE.value else None,
        )


if __name__ == "__main__":
    app.run(main)
