"""What a text model's file costs, and how exact it is, at each of the lengths that it has a signature for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress import runtime
from tfcompress.measure.agreement import Agreement, agreement
from tfcompress.measure.interpreter import FloatArray
from tfcompress.measure.latency import Latency, latency, take_turns
from tfcompress.names import is_mask


@dataclass(frozen=True)
class LengthFigures:
    """What was measured of one signature.

    Attributes:
        tokens: how many it takes.
        latency: its ratio is to the signature with the most tokens.
        agreement: with the model that the file was made from, on the texts that fit; None if none does.
    """

    tokens: int
    latency: Latency
    agreement: Agreement | None


def length_figures(
    path: Path, examples: Sequence[dict[str, npt.NDArray[Any]]], expected: FloatArray, rounds: int = 50
) -> tuple[LengthFigures, ...]:
    """Measures each signature of a file, the fewest tokens first.

    Args:
        path: of a file with one output.
        examples: features of texts without a batch axis, each `(tokens,)`, by name; at least one.
        expected: what the model gives for them, `(n, …)`; of a model with an answer per token `(n, tokens, …)`.
        rounds: of the latency measurement.
    """
    interpreter = runtime.Interpreter(path)
    lengths = interpreter.lengths()
    signatures = {tokens: interpreter.get_signature_runner(name) for tokens, name in lengths.items()}

    def cut(example: dict[str, npt.NDArray[Any]], tokens: int) -> dict[str, npt.NDArray[Any]]:
        takes = signatures[tokens].get_input_details()
        return {name: example[name][None, :tokens] for name in takes}

    invoked = {tokens: partial(run, **cut(examples[0], tokens)) for tokens, run in signatures.items()}
    times = take_turns(invoked, rounds, "timing each length")
    longest = max(lengths)
    found = []
    for tokens, run in signatures.items():
        fitting = [place for place, example in enumerate(examples) if _tokens(example) <= tokens]
        outputs = [next(iter(run(**cut(examples[place], tokens)).values()))[0] for place in fitting]
        wanted = expected[fitting] if expected.ndim < 3 else expected[fitting, :tokens]
        same = agreement(np.stack(outputs), wanted) if outputs else None
        found.append(LengthFigures(tokens, latency(times[tokens], times[longest]), same))
    return tuple(found)


def _tokens(example: dict[str, npt.NDArray[Any]]) -> int:
    """Returns the number of tokens before the padding."""
    mask = next(values for name, values in example.items() if is_mask(name))
    return int(np.flatnonzero(mask).max(initial=-1)) + 1
