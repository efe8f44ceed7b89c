"""Environments whose packages cannot share ours."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

from .missing import missing

ROOT = Path(__file__).parents[1]


def python_of(lock: str) -> Path:
    """The Python of an environment of `tests/{lock}.lock`, made at its first use and kept in out/."""
    requirements = ROOT / "tests" / f"{lock}.lock"
    folder = ROOT / "out" / lock / hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        venv.create(folder, clear=True)
        install = [ROOT / "tools" / "install.sh", python, "--require-hashes", "-r", requirements]
        if subprocess.run(install, env={**os.environ, "BUILD_PYTHON": sys.executable}, check=False).returncode:
            missing(f"the packages of {requirements.name} cannot be installed; see above for the reason")
        (folder / "ready").touch()
    return python
