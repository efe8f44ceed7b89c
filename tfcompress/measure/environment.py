"""The circumstances of a measurement: versions, machine, time."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_PACKAGES = ("tfcompress", "tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy")


def now() -> str:
    """Returns the date and time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that affect figures."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in _PACKAGES}


def machine() -> dict[str, str | int]:
    """Returns the system, the processor and the number of cores."""
    return {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count() or 0}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
