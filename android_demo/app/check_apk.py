"""Checks that a phone can install an APK, and that the APK keeps the README's promises.

check_apk.py APK BADGING CLASSES ABI...

BADGING has the output of `aapt2 dump badging` for the APK, and CLASSES a line of `dexdump` for each class.
"""

import re
import sys
import zipfile
from pathlib import Path

MOST_BYTES = 25_000_000
OURS = "libtfcompress_runtime.so"
NEEDED = (
    "package: name='org.tfcompress.demo'",
    "minSdkVersion:'24'",
    "targetSdkVersion:'35'",
    "launchable-activity: name='org.tfcompress.demo.MainActivity'",
)
TEST_CLASS = re.compile(r"Test;|Lorg/(junit|robolectric|bytedeco)/|/host/")


def main(apk: str, badging: str, classes: str, *abis: str) -> None:
    """Exits with all faults of the APK, if there are any."""
    found = [*about_package(Path(badging).read_text(), abis), *about_classes(Path(classes).read_text())]
    with zipfile.ZipFile(apk) as files:
        found += [problem for entry in files.infolist() for problem in about_entry(entry)]
        libraries = {f"lib/{abi}/{name}" for abi in abis for name in (OURS, "libtensorflowlite_jni.so")}
        found += [f"{name} is missing" for name in sorted(libraries - set(files.namelist()))]
        if not any(name.endswith(".tflite") for name in files.namelist()):
            found.append("it contains no model")
    size = Path(apk).stat().st_size
    if size > MOST_BYTES:
        found.append(f"it has {size:,} bytes; at most {MOST_BYTES:,} are allowed")
    if found:
        sys.exit(f"{apk}: " + "; ".join(found))
    print(f"{apk}: {size:,} bytes, {', '.join(abis)}, no permission, no test code")


def about_package(badging: str, abis: tuple[str, ...]) -> list[str]:
    """Returns the faults of a package, as `aapt2 dump badging` describes it."""
    found = [f"its badging lacks {line}" for line in NEEDED if line not in badging]
    if "uses-permission" in badging:
        found.append("it asks for a permission")
    native = re.search(r"^native-code: (.*)$", badging, re.MULTILINE)
    if native is None or set(re.findall(r"'([^']+)'", native[1])) != set(abis):
        found.append(f"it is not for {', '.join(abis)}")
    return found


def about_classes(classes: str) -> list[str]:
    """Returns the faults in the names of the classes."""
    names = set(re.findall(r"'(L[^']+;)'", classes))
    needed = {f"Lorg/tfcompress/{name};" for name in ("demo/MainActivity", "demo/SharedFiles", "runtime/Native")}
    found = [f"class {name} is missing" for name in sorted(needed - names)]
    return found + [f"{name} is a class of the tests" for name in sorted(names) if TEST_CLASS.search(name)]


def about_entry(entry: zipfile.ZipInfo) -> list[str]:
    """Returns the faults of one file. Files that are mapped into memory must not be compressed."""
    name = entry.filename
    found = []
    if name.endswith((".tflite", ".so")) and entry.compress_type != zipfile.ZIP_STORED:
        found.append(f"{name} is compressed")
    if name.endswith("golden.json"):
        found.append(f"{name} is a file of the tests")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
