"""Finds the fenced blocks of a Markdown page, and the commands in its console blocks."""

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
        line: line number of its first line of text, from 1.
        reason: why it is not run, from the mark `<!-- no-run: REASON -->` above its fence; None if it is run.
    """

    line: int
    language: str
    text: str
    reason: str | None


@dataclass(frozen=True)
class Command:
    """A command in a console block.

    Attributes:
        error: the last line that it must print on stderr, with status 2; None if it must succeed.
    """

    script: str
    error: str | None = None


def blocks(text: str) -> list[Block]:
    """Returns the fenced blocks of a page in order."""
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

    Lines that start with `$ ` are commands, and all others are their output. A block without such lines is one script.
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
