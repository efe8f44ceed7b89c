"""Refuses a library that Android would not load, or that shows more than its interface.

check.py LIBRARY LIBC.txt ABI: reads it with binutils' readelf.
"""

import re
import subprocess
import sys
from pathlib import Path

PAGE = 16384
INTERFACE = r"Java_org_tfcompress_runtime_Native_\w+|Tfcompress\w+|tflite_plugin_(create|destroy)_delegate"
MACHINES = {"arm64-v8a": "AArch64", "x86_64": "Advanced Micro Devices X86-64"}


def main(library: str, libc: str, abi: str) -> None:
    """Prints what is wrong, if something is."""
    header, segments, dynamic, symbols, versions = (
        subprocess.run(["readelf", "--wide", option, library], capture_output=True, text=True, check=True).stdout
        for option in ("--file-header", "--segments", "--dynamic", "--dyn-syms", "--version-info")
    )
    rows = [line.split() for line in symbols.splitlines() if re.match(r" *[1-9]\d*:", line)]
    missing = {row[7] for row in rows if row[6] == "UND"} - set(Path(libc).read_text().split())
    shown = {row[7] for row in rows if row[6] != "UND" and not re.fullmatch(INTERFACE, row[7])}
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    loaded = re.findall(r"^  LOAD .* (\S+)$", segments, re.MULTILINE)
    wrong = {
        f"is not for {MACHINES[abi]}": MACHINES[abi] not in header,
        f"wants what bionic has not: {missing}": missing,
        f"shows {shown}": shown,
        f"needs {needed}": needed - {"libc.so", "libm.so", "libdl.so"},
        "has segments for smaller pages": not loaded or any(int(alignment, 16) < PAGE for alignment in loaded),
        "has a stack that can be executed": not re.search(r"GNU_STACK .* RW ", segments),
        "has tables that stay writable": "GNU_RELRO" not in segments,
        "has thread-local variables, which Android knows from API 29 on": "  TLS " in segments,
        "has relocations in its code": "(TEXTREL)" in dynamic,
        "wants versions of symbols": "No version information" not in versions,
    }
    if found := [f"{library} {what}" for what, true in wrong.items() if true]:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
