"""Fails if CMake and Bazel do not build the same C++ files of the runtime.

python tools/bazel/check_sources.py

Compares the sources that the CMakeLists.txt files name with those that the BUILD file names, for the code, the kernels,
the tests and the fuzzer, and both with the files that exist. CMake's lists are read as text: names ending in `.cc`, and
instruction sets, each of which is a file of kernels. Bazel's are read with `glob` applied.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "runtime/native"

ONLY_CMAKE = {"fuzz/graph_fuzzer.cc", "benchmark/share_of_peak.cc", "src/libcxx.cc"}
"""What Bazel does not build: the fuzzer, which needs sanitizers of its own, a benchmark, which is run by hand, and what
stands for the C++ library, with which Bazel links."""

EXAMPLES = {"example/run_packed.cc"}
"""Programs of their own, which use an installed runtime."""

CMAKE_COMMANDS = r"add_library|add_executable|target_sources"
INSTRUCTION_SET = "tfcompress_add_instruction_set"


def cmake_targets(native: Path) -> dict[str, set[str]]:
    """Returns the sources of each CMake target, relative to the folder `native`."""
    targets: dict[str, set[str]] = {}
    for file in (native / "CMakeLists.txt", native / "src/kernels/CMakeLists.txt"):
        text = re.sub(r"#.*", "", file.read_text())
        for body in re.findall(rf"\b(?:{CMAKE_COMMANDS})\(([^()]*)\)", text):
            target, *words = body.replace("${PROJECT_SOURCE_DIR}/", "").split()
            targets.setdefault(target, set()).update(word for word in words if re.fullmatch(r"[\w/]+\.cc", word))
        kernels = {f"src/kernels/{name}.cc" for name in re.findall(rf"\b{INSTRUCTION_SET}\((\w+) [^)]", text)}
        targets.setdefault("tfcompress_kernels", set()).update(kernels - {"src/kernels/name.cc"})
    return targets


def bazel_targets(native: Path) -> dict[str, set[str]]:
    """Returns the `.cc` sources of each rule of the BUILD file, relative to the folder `native`."""
    tree = ast.parse((native / "BUILD").read_text())
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    sets = [ast.literal_eval(key) for name in ("X86", "ARM") for key in _keys(constants[name])]
    targets: dict[str, set[str]] = {}
    for rule in ast.walk(tree):
        if not (isinstance(rule, ast.Call) and isinstance(rule.func, ast.Name) and rule.func.id.startswith("cc_")):
            continue
        values = {word.arg: word.value for word in rule.keywords}
        if "srcs" not in values:
            continue
        if isinstance(values["name"], ast.BinOp):  # The rule of the kernels, once per instruction set.
            targets["kernels_by_set"] = {f"src/kernels/{name}.cc" for name in sets}
            continue
        names = _sources(values["srcs"], native)
        targets[ast.literal_eval(values["name"])] = {name for name in names if name.endswith(".cc")}
    return targets


def _keys(value: ast.expr) -> list[ast.expr]:
    assert isinstance(value, ast.Dict)
    return [key for key in value.keys if key is not None]


def _sources(value: ast.expr, folder: Path) -> set[str]:
    if not isinstance(value, ast.Call):
        return set(ast.literal_eval(value))
    options = {str(word.arg): ast.literal_eval(word.value) for word in value.keywords}
    found = {file for pattern in ast.literal_eval(value.args[0]) for file in folder.glob(pattern)}
    return {str(file.relative_to(folder)) for file in found} - set(options.get("exclude", ()))


def differences(native: Path) -> list[str]:
    """Returns one line per file that only one of the build systems, or neither, has in a pair of matching targets."""
    cmake, bazel = cmake_targets(native), bazel_targets(native)
    pairs = [
        ("core", cmake["tfcompress_core"], bazel["core"]),
        ("kernels", cmake["tfcompress_kernels"], bazel["kernels"] | bazel["kernels_by_set"]),
        ("fake interpreter", cmake["tfcompress_fake"], bazel["fake"]),
        ("kernels_tests", cmake["kernels_tests"], bazel["kernels_tests"]),
        ("runtime_tests", cmake["runtime_tests"], bazel["runtime_tests"]),
        ("library_tests", cmake["library_tests"], bazel["library_tests"]),
    ]
    found = []
    for name, in_cmake, in_bazel in pairs:
        found += [f"{name}: only CMakeLists.txt has {file}" for file in sorted(in_cmake - in_bazel)]
        found += [f"{name}: only BUILD has {file}" for file in sorted(in_bazel - in_cmake)]
    files = {str(file.relative_to(native)) for file in native.rglob("*.cc")} - EXAMPLES
    all_cmake, all_bazel = set().union(*cmake.values()), set().union(*bazel.values())
    found += [f"CMakeLists.txt does not have {file}" for file in sorted(files - all_cmake)]
    found += [f"BUILD does not have {file}" for file in sorted(files - all_bazel - ONLY_CMAKE)]
    found += [f"there is no file {file}" for file in sorted((all_cmake | all_bazel) - files)]
    return found


if __name__ == "__main__":
    sys.exit("\n".join(differences(NATIVE)) or None)
