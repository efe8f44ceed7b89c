"""The figures that are measured of every file, whether in a run or in a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from tfcompress.measure.agreement import Agreement
from tfcompress.measure.quality import Change, Quality
from tfcompress.measure.size import Size


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is measured of one file.

    Attributes:
        inputs: type and shape by the name of each input.
        size: of the file.
        quality: the figures of the task, of which the first decides; empty without labels.
        change: of each of them, against the first file; empty for the first file, and without labels.
        agreement: with the model that the outputs are compared with; None if there is none, or if its output has
            another shape.
    """

    inputs: dict[str, str]
    size: Size
    quality: tuple[Quality, ...]
    change: tuple[Change, ...]
    agreement: Agreement | None

    @property
    def embedding_bytes(self) -> int:
        """Bytes of the token and segment tables in the file; 0 where they are not known."""
        return 0
