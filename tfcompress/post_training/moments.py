"""What clustering needs to know of the inputs of a layer or a table, summed up over all examples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tfcompress.errors import UserError
from tfcompress.tflite.tensor import Array

MOST_INPUTS = 8192
"""With more, the second moments of a layer's inputs take more than 512 MiB."""

_ROWS_AT_ONCE = 4096


def counts(ids: Iterable[Array], rows: int, name: str) -> Array:
    """Returns how often each row of a table is looked up, `(rows,)`.

    Args:
        ids: integers of any shape.
        rows: of the table.
        name: of the table, for messages.

    Raises:
        UserError: the table has no row of an id.
    """
    found = np.zeros(rows, int)
    for some in ids:
        wrong = some[(some < 0) | (some >= rows)]
        if wrong.size:
            raise UserError(f"a calibration example looks up row {wrong[0]} of {name}, which has {rows:,} rows")
        found += np.bincount(some.reshape(-1), minlength=rows)
    return found


def moments(rows: Iterable[Array], inputs: int, name: str) -> Array:
    """Returns the sum of x xᵀ over the inputs x of a layer, `(inputs, inputs)`.

    Args:
        rows: inputs `(…, inputs)`; few at a time are collected, because products of many are faster.
        inputs: their number, `MOST_INPUTS` or fewer.
        name: of the layer, for messages.

    Raises:
        UserError: an input is not a finite number.
    """
    found = np.zeros((inputs, inputs))
    waiting: list[Array] = []

    def add() -> None:
        joined = np.concatenate(waiting) if waiting else np.zeros((0, inputs), np.float32)
        found[:] += joined.T @ joined
        waiting.clear()

    for some in rows:
        waiting.append(some.reshape(-1, inputs))
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            add()
    add()
    if not np.isfinite(found).all():
        raise UserError(
            f"the inputs of {name} are not finite numbers on the calibration examples; correct those, or train the "
            "model again"
        )
    return found
