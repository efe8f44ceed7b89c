"""Reports as the demo app shares them, of no phone."""

import copy
import hashlib
from pathlib import Path

MADE_UP = {  # of no phone
    "format": "tfcompress.phone",
    "version": 1,
    "app": "0.1.0",
    "date": "2000-01-01T00:00:00Z",
    "device": {
        "manufacturer": "Nobody",
        "model": "Made Up",
        "android": "15",
        "api": 35,
        "abi": "arm64-v8a",
        "cores": 8,
    },
    "rows": [],
}


ROW = {
    "group": "vit",
    "title": "whatever the app calls it",
    "runs": 50,
    "delegate": "xnnpack",
    "pss_before_kib": 50_000,
    "pss_after_kib": 52_048,
    "energy_uj": None,
    "energy_source": None,
}


def report_of(files: dict[Path, dict[int, float]]) -> dict:
    """Returns a report with a median for each file and number of threads."""
    rows = [
        {
            **ROW,
            "model": path.name,
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "threads": threads,
            "median_ms": median,
            "p90_ms": 2 * median,
        }
        for path, medians in files.items()
        for threads, median in medians.items()
    ]
    return {**copy.deepcopy(MADE_UP), "rows": rows}
