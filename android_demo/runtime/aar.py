"""Writes the Android library (AAR). The same input gives the same bytes.

aar.py CLASSES_FOLDER JNI_FOLDER OUT.aar

The JNI folder has one folder of libraries per ABI.
"""

import io
import sys
import zipfile
from pathlib import Path

TIME = (1981, 1, 1, 1, 1, 2)
MANIFEST = """<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="org.tfcompress.runtime">
  <uses-sdk android:minSdkVersion="24" />
</manifest>
"""
"""With the settings that Gradle takes from build.gradle.kts instead."""


def main(classes: str, jni: str, out: str) -> None:
    """Archives compiled classes, native libraries and the rules for code shrinkers."""
    files = {
        "AndroidManifest.xml": MANIFEST.encode(),
        "classes.jar": archive(files_in(classes)),
        "proguard.txt": Path(__file__).with_name("consumer-rules.pro").read_bytes(),
        "R.txt": b"",
        **{f"jni/{name}": content for name, content in files_in(jni).items()},
    }
    Path(out).write_bytes(archive(files))


def files_in(folder: str) -> dict[str, bytes]:
    """Returns the contents of all files in a folder, by their relative paths."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def archive(files: dict[str, bytes]) -> bytes:
    """Returns a zip archive of files by their paths."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, data)
    return content.getvalue()


if __name__ == "__main__":
    main(*sys.argv[1:])
