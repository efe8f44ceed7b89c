"""Compares the size, memory and latency of halved models with whole ones, DistilBERT and MobileBERT.

The weights are random, because none of these figures depends on them.

python benchmarks/text_models.py --tokens=128
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tf_keras
from absl import app, flags
from rich.console import Console
from rich.table import Table

from tfcompress.cli.program import as_user_sees, import_tensorflow

if TYPE_CHECKING:
    from tfcompress.export.formats import ConverterFormat

_TOKENS = flags.DEFINE_integer("tokens", 128, "Input length in tokens.", lower_bound=2)
_ROUNDS = flags.DEFINE_integer("rounds", 30, "Rounds of the latency measurement.", lower_bound=2)

_Changes = dict[str, int]
"""Fields of a preset and their new values."""

_MINILM_HALF: _Changes = {"width": 192, "heads": 6, "mlp": 768}
_GROUPS: tuple[tuple[ConverterFormat, tuple[tuple[str, str, _Changes], ...]], ...] = (
    ("float32", (("bert_base", "bert_base", {}), ("bert_half", "bert_half", {}))),
    ("float32", (("minilm_l6", "minilm_l6", {}), ("minilm_l6 halved", "minilm_l6", _MINILM_HALF))),
    (
        "dynamic",
        (
            ("distilbert", "distilbert", {}),
            ("mobilebert", "mobilebert", {}),
            ("bert_half", "bert_half", {}),
            ("minilm_l6 halved", "minilm_l6", _MINILM_HALF),
        ),
    ),
)


def main(_: Sequence[str]) -> None:
    """Prints one table per group; ratios are relative to its first row, measured in the same process and rounds."""
    with as_user_sees():
        import_tensorflow()
        for group_format, models in _GROUPS:
            _compare(group_format, models)


def _compare(format: ConverterFormat, models: Sequence[tuple[str, str, _Changes]]) -> None:
    from tfcompress.export.converter import convert
    from tfcompress.measure.latency import latencies
    from tfcompress.measure.memory import memory
    from tfcompress.models import presets

    with tempfile.TemporaryDirectory() as folder:
        files, parameters = {}, {}
        for number, (name, preset, changes) in enumerate(models):
            model = presets.build(preset, 2, sequence_length=_TOKENS.value, **changes)
            files[name] = Path(folder) / f"{number}.tflite"
            files[name].write_bytes(convert(model, format))
            parameters[name] = model.count_params()
            tf_keras.backend.clear_session()
        ones = np.ones(_TOKENS.value, np.int32)
        example = {"token_ids": ones, "segment_ids": 0 * ones, "padding_mask": ones}
        times = latencies(files, dict.fromkeys(files, example), _ROUNDS.value)
        table = Table(f"{format}, {_TOKENS.value} tokens", "parameters", "bytes", "ratio", "peak RSS", "time", "ms")
        first = next(iter(files.values())).stat().st_size
        for name, path in files.items():
            used, _ = memory(path)
            table.add_row(
                name,
                f"{parameters[name]:,}",
                f"{path.stat().st_size:,}",
                f"1/{first / path.stat().st_size:.2f}",
                f"{used.peak_rss / 2**20:.0f} MiB" if used else "",
                f"{times[name].ratio:.3f}",
                f"{times[name].median_ms:.1f}",
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    app.run(main)
