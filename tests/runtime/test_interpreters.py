"""The same library and files in the interpreters of LiteRT 2.3, TensorFlow 2.21 and tflite_runtime 2.14."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ..environments import python_of
from .packed import ROWS, text_encoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def old_python() -> Path:
    """The Python of an environment with the TFLite of 2023, which needs numpy 1."""
    if sys.version_info >= (3, 12):
        pytest.skip("tflite_runtime 2.14 supports Python 3.11 at most")
    return python_of("tflite_2_14")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Triples of a job for the client, the expected outputs, and the accepted relative difference."""
    folder = tmp_path_factory.mktemp("jobs")
    ids = np.random.default_rng(0).integers(0, ROWS, (5, 2, 9)).astype(np.int32)
    np.save(folder / "ids.npy", ids)
    found = []
    for name, most in (("float32", 1e-5), ("int8", 0.03)):
        made, output = text_encoder(int8=name == "int8")
        (folder / f"{name}.tflite").write_bytes(made.file(output))
        right = np.stack([made.expected(one, output) for one in ids])
        for threads in (1, 2):
            paths = [folder / f"{name}.tflite", folder / "ids.npy", folder / f"{name}-{threads}.npy"]
            found.append(([*map(str, paths), threads], right, most))
    return found


@pytest.mark.parametrize("kind", ["litert", "tensorflow", "tflite_runtime"])
def test_it_runs_in(kind, jobs, library, request, tmp_path):
    python = request.getfixturevalue("old_python") if kind == "tflite_runtime" else sys.executable
    (tmp_path / "jobs.json").write_text(json.dumps([job for job, _, _ in jobs]))
    script = Path(__file__).with_name("client.py")
    ended = subprocess.run([python, script, kind, library, tmp_path / "jobs.json"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    for (_, _, path, _), right, most in jobs:
        found = np.load(path)
        assert found.shape == right.shape
        assert np.abs(found - right).max() < most * np.abs(right).max()
