"""Compares `.tflite` files with the first of them: bytes, time, memory, and what they answer.

python tools/benchmark.py --files=out/demo/tflite/00-base-float32.tflite,out/demo/model.tflite --data=digits
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from tfcompress.cli import as_user_sees, compare

_FILES = flags.DEFINE_list("files", None, ".tflite files; the first is the one to compare with.", required=True)
_DATA = flags.DEFINE_string("data", None, "Compare answers on its test split: `tfcompress datasets` lists them.")
_PATH = flags.DEFINE_string("path", None, "The data's file or folder, where it needs one.")
_EXAMPLES = flags.DEFINE_integer("examples", None, "Take only the first so many of the test split.")
_THREADS = flags.DEFINE_string("threads", "1", "Numbers of threads to measure with: 1,2.")
_ROUNDS = flags.DEFINE_integer("rounds", 50, "Turns of each file in the time measurement.")
_JSON = flags.DEFINE_string("json", None, "Write all figures to this file.")
_FROM_PHONE = flags.DEFINE_string("from_phone", None, "What the demo app's benchmark shared of these files on a phone.")


def main(_: list[str]) -> None:
    """Compares and prints the table."""
    with as_user_sees():
        compare(
            [Path(file) for file in _FILES.value],
            _DATA.value,
            Path(_PATH.value) if _PATH.value else None,
            _EXAMPLES.value,
            _THREADS.value,
            _ROUNDS.value,
            Path(_JSON.value) if _JSON.value else None,
            Path(_FROM_PHONE.value) if _FROM_PHONE.value else None,
        )


if __name__ == "__main__":
    app.run(main)
