"""What Bazel runs: one file's tests in this process, without what is marked slow."""

from __future__ import annotations

import os
import sys
from tempfile import TemporaryDirectory

import pytest

NO_TESTS = 5  # All are slow.

if __name__ == "__main__":
    alone = ["-p", "no:xdist", "-p", "no:cacheprovider", "--override-ini=addopts=", "--strict-markers", "--timeout=900"]
    # Not Bazel's own folder, whose long path would break the lines of messages elsewhere.
    with TemporaryDirectory() as folder:
        kept = [f"--basetemp={folder}/pytest", f"--junitxml={os.environ['XML_OUTPUT_FILE']}"]
        status = pytest.main(["-q", "-m", "not slow", *alone, *kept, *sys.argv[1:]])
    sys.exit(0 if status == NO_TESTS else status)
