"""What the fuzz does with a model: convert it, rehearse to prune, cluster, quantize and pack it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.fuzz.graphs import CLASSES, graph
from tfcompress import Cluster, Dataset, Export, Prune, Quantize, Training, UserError
from tfcompress.commands.convert import convert_file
from tfcompress.measure.interpreter import Runner
from tfcompress.runs.base import check_fit, given_outputs, take_model
from tfcompress.runs.chain import Chain
from tfcompress.runs.rehearsal import perform, script_of
from tfcompress.runs.stages import save_model
from tfcompress.training import Objective

Array = npt.NDArray[np.float32]

_FIT = Training(epochs=1, batch_size=8)
_TECHNIQUES = (Prune(sparsity=0.5, schedule="constant", fit=_FIT), Cluster(clusters=8, fit=_FIT), Quantize(fit=_FIT))


def outcome(seed: int, workdir: Path) -> str:
    """Tries the model of a seed and returns `right`, or the one line in which it was refused.

    Raises:
        AssertionError: a file computes something else than its model, or a message has several lines.
        Exception: whatever the package does not turn into a `UserError`.
    """
    model, features = graph(seed)
    try:
        _convert(model, features, workdir)
        _rehearse(model, features, workdir)
    except UserError as error:
        message = str(error)
        assert "\n" not in message, message
        assert "please report" not in message, message
        return message
    return "right"


def _convert(model: object, features: Array, workdir: Path) -> None:
    expected = np.asarray(model(features, training=False))
    convert_file(model, workdir / "model.tflite", "float32")
    runner = Runner(workdir / "model.tflite")
    found = np.stack([runner.run(example) for example in features])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


def _rehearse(model: object, features: Array, workdir: Path) -> None:
    """Does what a run does before its first epoch; its trait checks and verification are those of the run."""
    split = (features, np.arange(len(features)) % CLASSES)
    data = Dataset.from_arrays("random", [f"class {number}" for number in range(CLASSES)], split, split, split)
    functional, data = take_model(model, data)
    check_fit(functional, data)
    objective = Objective(outputs=given_outputs(functional, data, None))
    export = Export(formats=("float32",), clustered=True)
    chain = Chain(workdir, lambda: (functional, data), None, _TECHNIQUES, objective, export, seed=0)
    script, short = script_of(chain, functional, data)
    save_model(short, workdir / "model.h5")
    perform(script, workdir)
