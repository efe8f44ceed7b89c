"""What was measured on a phone, or another machine: the JSON of the Android demo, or of `tfcompress_runtime`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    with_config,
)

from tfcompress.errors import UserError

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_LARGEST = 1 << 24


@with_config(_STRICT)
@dataclass(frozen=True)
class Device:
    """The phone, as Android describes it, or another machine, which has no Android."""

    manufacturer: str
    model: str
    android: str | None
    api: PositiveInt | None
    abi: str
    cores: PositiveInt

    def __str__(self) -> str:
        system = f", Android {self.android} (API {self.api})" if self.android else ""
        return f"{self.manufacturer} {self.model}{system}, {self.abi}"


@with_config(_STRICT)
@dataclass(frozen=True)
class Measured:
    """One model with one number of threads.

    Attributes:
        group: the folder of models in the app.
        model: name of the model's file.
        sha256: of the file, in lower-case hexadecimal.
        delegate: what ran its dense layers.
        runs: number of timed inferences, after those for warming up.
        pss_before_kib, pss_after_kib: the app's memory without and with the model, in KiB.
        energy_uj: energy per inference in microjoules; None where the phone does not measure it.
        energy_source: what measured it.
    """

    group: str
    model: str
    title: str
    bytes: PositiveInt
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    threads: PositiveInt
    delegate: Literal["tfcompress", "xnnpack"]
    runs: PositiveInt
    median_ms: PositiveFloat
    p90_ms: PositiveFloat
    pss_before_kib: NonNegativeInt
    pss_after_kib: NonNegativeInt
    energy_uj: PositiveFloat | None
    energy_source: Literal["power monitors", "battery"] | None

    @property
    def pss_mib(self) -> float:
        """What the model added to the app's memory, in MiB; negative if the system reclaimed memory meanwhile."""
        return (self.pss_after_kib - self.pss_before_kib) / 1024


@with_config(_STRICT)
@dataclass(frozen=True)
class PhoneReport:
    """All rows of a benchmark on one machine."""

    format: Literal["tfcompress.phone"]
    version: Literal[1]
    app: str
    date: str
    device: Device
    rows: tuple[Measured, ...]

    def of(self, files: Mapping[str, Path]) -> PhoneReport:
        """Returns the rows of `files` (path by name) in their order, with these names as titles.

        Raises:
            UserError: one of the files has no row.
        """
        names = {hashlib.sha256(path.read_bytes()).hexdigest(): name for name, path in files.items()}
        order = list(names)
        kept = [replace(row, title=names[row.sha256]) for row in self.rows if row.sha256 in names]
        if missing := names.keys() - {row.sha256 for row in kept}:
            measured = ", ".join(sorted({f"{row.group}/{row.model}" for row in self.rows})) or "nothing"
            absent = ", ".join(names[one] for one in order if one in missing)
            raise UserError(
                f"the phone did not measure {absent}, but {measured}; "
                "compare the same files as in the app, those of a run's android folder"
            )
        return replace(self, rows=tuple(sorted(kept, key=lambda row: (order.index(row.sha256), row.threads))))

    def ratio(self, row: Measured) -> float | None:
        """Returns a row's median by that of the first file with as many threads; None without such a row."""
        first = [other for other in self.rows if (other.sha256, other.threads) == (self.rows[0].sha256, row.threads)]
        return row.median_ms / first[0].median_ms if first else None


def load(path: Path) -> PhoneReport:
    """Reads a file that the app shared, or that `python -m tfcompress_runtime --json` printed.

    Raises:
        UserError: the file cannot be read, or is something else.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes; what a phone measured has a few thousand")
        return TypeAdapter(PhoneReport).validate_json(path.read_bytes(), strict=False)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; share the file from the app's benchmark") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path} is not what the demo app shares or python -m tfcompress_runtime --json prints (version 1): "
            f"{place}: {first['msg']}; measure again"
        ) from error
