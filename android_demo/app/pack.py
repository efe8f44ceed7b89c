"""Adds code and uncompressed native libraries to an APK of resources. The same input gives the same bytes.

pack.py RESOURCES.apk DEX_FOLDER JNI_FOLDER JNI_FOLDER OUT.apk ABI...

A JNI folder has one folder of libraries per ABI.
"""

import sys
import zipfile
from pathlib import Path

TIME = (1981, 1, 1, 1, 1, 2)


def main(resources: str, dex: str, first: str, second: str, out: str, *abis: str) -> None:
    """Writes the APK."""
    with zipfile.ZipFile(resources) as source, zipfile.ZipFile(out, "w") as apk:

        def add(name: str, data: bytes, how: int) -> None:
            entry = zipfile.ZipInfo(name, TIME)
            entry.compress_type = how
            apk.writestr(entry, data)

        for entry in source.infolist():  # aapt2 has chosen which of them are compressed.
            add(entry.filename, source.read(entry), entry.compress_type)
        for file in sorted(Path(dex).rglob("*")):  # Classes and their resources, without the libraries' metadata.
            name = file.relative_to(dex).as_posix()
            if file.is_file() and not name.startswith(("META-INF/", "kotlin/")):
                add(name, file.read_bytes(), zipfile.ZIP_DEFLATED)
        for abi in abis:
            for folder in (first, second):
                for file in sorted((Path(folder) / abi).glob("*.so")):
                    add(f"lib/{abi}/{file.name}", file.read_bytes(), zipfile.ZIP_STORED)


if __name__ == "__main__":
    main(*sys.argv[1:])
