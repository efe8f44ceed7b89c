"""Programs in benchmarks/ that can run at once, on data which they generate."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.native import has_runtime


@pytest.mark.skipif(not has_runtime(), reason="no packed runtime")
def test_the_comparison_without_training_runs():
    command = [sys.executable, "-m", "benchmarks.training_free", "--quick"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "10 files were made and measured" in done.stdout
