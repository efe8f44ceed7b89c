"""Completes a release in dist/, where `make wheels` has put wheels and sdists: Android library, notes, checksums.

python tools/release.py                # the notes are those of the version, or what is unreleased
python tools/release.py --tag v0.1.0   # the version and its notes must be there
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
AAR = Path("android_demo/runtime/target/tfcompress-runtime.aar")

PLACES = {
    "CITATION.cff": r"^version: (.+)$",
    "MODULE.bazel": r'^    version = "(.+)",$',
    "android_demo/pom.xml": r"<artifactId>android-demo</artifactId>\s*<version>(.+)</version>",
    "android_demo/app/pom.xml": r"<artifactId>android-demo</artifactId>\s*<version>(.+)</version>",
    "android_demo/core/pom.xml": r"<artifactId>android-demo</artifactId>\s*<version>(.+)</version>",
    "android_demo/host/pom.xml": r"<artifactId>android-demo</artifactId>\s*<version>(.+)</version>",
    "android_demo/runtime/pom.xml": r"<artifactId>android-demo</artifactId>\s*<version>(.+)</version>",
    "android_demo/app/build.gradle.kts": r'versionName = "(.+)"',
}
"""The files that repeat the version of runtime/pyproject.toml, with where it stands in them."""

POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>org.tfcompress</groupId>
  <artifactId>tfcompress-runtime</artifactId>
  <version>{version}</version>
  <packaging>aar</packaging>
  <name>tfcompress-runtime</name>
  <description>Runs TFLite files that tfcompress packed, as a delegate for the Interpreter of an app</description>
  <licenses>
    <license>
      <name>Apache-2.0</name>
      <url>https://www.apache.org/licenses/LICENSE-2.0.txt</url>
    </license>
  </licenses>
</project>
"""
"""An app brings the Interpreter and Kotlin's library, so it has no dependencies."""


class ReleaseError(Exception):
    """What keeps a release from being made."""


def version(root: Path) -> str:
    """Returns the version, which is the same in all files that say it.

    Raises:
        ReleaseError: in one it is not.
    """
    wanted = str(tomllib.loads((root / "runtime" / "pyproject.toml").read_text())["project"]["version"])
    for name, pattern in PLACES.items():
        found = re.search(pattern, (root / name).read_text(), re.M)
        if found is None or found[1] != wanted:
            told = found[1] if found else "none"
            raise ReleaseError(
                f"the version is {wanted} in runtime/pyproject.toml, but {told} in {name}; write {wanted}"
            )
    return wanted


def notes(changelog: str, section: str) -> str:
    """Returns a section of the changelog without its heading, which is the version or begins with it.

    Raises:
        ReleaseError: there is no such section.
    """
    found = re.search(rf"^## {re.escape(section)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if found is None:
        raise ReleaseError(f"CHANGELOG.md has no section {section}; give the section Unreleased this name")
    return found[1].strip() + "\n"


def complete(root: Path, dist: Path, tag: str | None) -> str:
    """Adds to the wheels and sdists in `dist`, and returns the version.

    Raises:
        ReleaseError: the version differs from the tag or between files, or a file or the changelog's section is
            missing.
    """
    number = version(root)
    if tag is not None and tag != f"v{number}":
        raise ReleaseError(f"the tag is {tag}, but the version is {number}; tag v{number} or change the version")
    changelog = (root / "CHANGELOG.md").read_text()
    unreleased = tag is None and f"\n## {number}" not in changelog
    text = notes(changelog, "Unreleased" if unreleased else number)
    made = [f"tfcompress-{number}-*.whl", f"tfcompress-{number}.tar.gz", f"tfcompress_runtime-{number}.tar.gz"]
    made += [f"tfcompress_runtime-{number}-*_{machine}.whl" for machine in ("x86_64", "aarch64")]
    for pattern in made:
        if not list(dist.glob(pattern)):
            raise ReleaseError(f"{dist} has no {pattern}; run make wheels")
    if not (root / AAR).is_file():
        raise ReleaseError(f"there is no {AAR}; build it as docs/clustered.md says")
    shutil.copy(root / AAR, dist / f"tfcompress-runtime-{number}.aar")
    (dist / f"tfcompress-runtime-{number}.pom").write_text(POM.format(version=number))
    (dist / "notes.md").write_text(text)
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(dist.glob("tfcompress*"))}
    (dist / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return number


def main() -> str | None:
    """Returns what keeps the release from being made."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--tag", help="the version with a v before it, such as v0.1.0")
    try:
        number = complete(ROOT, ROOT / "dist", parser.parse_args().tag or None)
    except ReleaseError as error:
        return str(error)
    print(f"dist/ has the release {number}")
    return None


if __name__ == "__main__":
    sys.exit(main())
