"""Names for layers and for the inputs and outputs of models and files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, count

_NOT_IN_NAME, _BEFORE_NAME = re.compile(r"[^A-Za-z0-9_.\\/>-]"), re.compile(r"^[^A-Za-z0-9.]+")


def plain_name(tensor: str) -> str:
    """Returns a tensor's name without the prefix and suffix that TensorFlow's converter adds."""
    return tensor.removeprefix("serving_default_").removesuffix(":0")


def graph_name(name: str) -> str:
    """Returns a name in the letters that TensorFlow's graphs take, possibly an empty one."""
    return _BEFORE_NAME.sub("", _NOT_IN_NAME.sub("_", name))


def is_mask(name: str) -> bool:
    """Returns whether an input says by its name which tokens are no padding, such as `attention_mask`."""
    return "mask" in name.lower()


def distinct_names(names: Sequence[str], kind: str) -> list[str]:
    """Returns names of which no two are equal, in the same order.

    Args:
        names: of inputs, outputs or layers, possibly empty or equal.
        kind: `input`, `output` or `layer`. An empty name becomes this and its place, such as `output_1`; an equal name
            gets a number from the second on.
    """
    taken = set(names)
    found: dict[str, None] = {}
    for place, name in enumerate(names):
        base = name or f"{kind}_{place}"
        numbered = (f"{base}_{number}" for number in count(1))
        if name and name not in found:
            found[name] = None
        else:
            free = (one for one in chain([base], numbered) if one not in taken and one not in found)
            found[next(free)] = None
    return list(found)
