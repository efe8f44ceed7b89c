"""The fenced blocks of a Markdown page, and the commands of those that are a terminal's."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>```+|~~~+) *(?P<language>\S*)")
_MARK = re.compile(r"^ *<!-- no-run: (?P<reason>\S.*\S) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: of its first line of text, from 1.
        reason: why it is not run, by the mark `<!-- no-run: REASON -->` above its fence; or None.
    """

    line: int
    language: str
    text: str
    reason: str | None


@dataclass(frozen=True)
class Command:
    """What a terminal is given.

    Attributes:
        error: what it must end with on stderr, with status 2; or None if it must succeed.
    """

    script: str
    error: str | None = None


def blocks(text: str) -> list[Block]:
    """Returns the fenced blocks of a page in their order."""
    found, lines, place = [], text.splitlines(), 0
    while place < len(lines):
        if not (fence := _FENCE.match(lines[place])):
            place += 1
            continue
        end = place + 1
        while lines[end].strip() != fence["fence"]:
            end += 1
        before = next((line for line in reversed(lines[:place]) if line.strip()), "")
        mark = _MARK.match(before)
        body = textwrap.dedent("\n".join(lines[place + 1 : end])) + "\n"
        found.append(Block(place + 2, fence["language"], body, mark["reason"] if mark else None))
        place = end + 1
    return found


def commands(text: str) -> list[Command]:
    """Returns the commands of a console block.

    Lines behind a `$ ` are commands and all others what they print; without any the whole block is one script.
    """
    if not re.search(r"^\$ ", text, re.M):
        return [Command(text)]
    found = []
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        script = re.match(r"(?:.*\\\n)*.*\n", part)
        assert script
        printed = part[script.end() :].strip()
        found.append(Command(script[0], printed if printed.startswith("error: ") else None))
    return found
