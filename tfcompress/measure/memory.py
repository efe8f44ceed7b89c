"""Peak memory of one inference, measured in its own process, which loads nothing but LiteRT."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tfcompress import runtime
from tfcompress.measure.interpreter import is_packed

# The child runs this with -c, because importing this package would count its memory too. It reads VmHWM instead of
# getrusage, whose peak a child inherits from its parent.
_CHILD = """
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, load_delegate
def peak():
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
before = peak()
delegates = [load_delegate(library) for library in sys.argv[3:]]
interpreter = Interpreter(sys.argv[1], num_threads=int(sys.argv[2]), experimental_delegates=delegates)
interpreter.allocate_tensors()
for detail in interpreter.get_input_details():
    interpreter.set_tensor(detail["index"], np.ones(detail["shape"], detail["dtype"]))
interpreter.invoke()
print(json.dumps({"peak_rss": peak(), "above_empty": peak() - before}))
"""


@dataclass(frozen=True)
class Memory:
    """Peak resident memory in bytes.

    Attributes:
        peak_rss: of a Python process that loads LiteRT and the file, and runs the file once.
        above_empty: the part of `peak_rss` that loading and running the file added.
    """

    peak_rss: int
    above_empty: int


def memory(path: Path, threads: int = 1) -> tuple[Memory | None, str]:
    """Measures a file in a fresh process.

    Returns:
        The figures and an empty string; or None and the reason: there is no /proc, or the process died.
    """
    if not Path("/proc/self/status").is_file():
        return None, "this system has no /proc"
    delegates = [str(runtime.library())] if is_packed(path) else []
    command = [sys.executable, "-c", _CHILD, str(path), str(threads), *delegates]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode == 0:
        return Memory(**json.loads(child.stdout)), ""
    if child.returncode < 0:
        return None, f"its process died of {signal.Signals(-child.returncode).name}"
    return None, f"its process stopped: {(child.stderr.strip() or 'no message').splitlines()[-1]}"
