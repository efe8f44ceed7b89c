"""Ridge regression with an intercept, for fitting a matrix to its wanted outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_PENALTY = 1e-3
"""The penalty, as a share of the mean variance of the features."""


class Ridge:
    """Least squares with a small penalty, for several targets on the same features `(rows, n)`.

    A call with a target `(rows, m)` returns the kernel `(n, m)` and the bias `(m,)`, both float32.
    """

    def __init__(self, features: Array) -> None:
        self.mean = features.mean(0)
        self.centred = features - self.mean
        self.gram = penalised((self.centred.T @ self.centred).astype(np.float64))

    def __call__(self, target: Array) -> tuple[Array, Array]:
        mean = target.mean(0)
        kernel = np.linalg.solve(self.gram, self.centred.T @ (target - mean)).astype(np.float32)
        return kernel, (mean - self.mean @ kernel).astype(np.float32)


def penalised(gram: Array) -> Array:
    """Adds the penalty to a covariance or Gram matrix `(n, n)`, in place, and returns it."""
    gram[np.diag_indices_from(gram)] += _PENALTY * np.trace(gram) / len(gram) + 1e-12
    return gram
