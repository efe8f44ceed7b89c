"""The names of the user's classes, and the names that a model has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfcompress.errors import UserError
from tfcompress.labels import listed


def renamed(names: Sequence[str], synonyms: Mapping[str, str], data: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """Returns the classes under their new names, and for each old name the index of its class.

    Args:
        names: what the data call their classes, in their order.
        synonyms: new names by old ones; a name that is missing stays. Two names may become one class.
        data: names the data in errors.

    Raises:
        UserError: there are synonyms, but none for a class of the data, or one for all classes; or a class has a name
            that no file can hold.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(f"{data} has a class whose name is not UTF-8: {name!r}; rename its folder") from None
    if synonyms and not set(synonyms) & set(names):
        raise UserError(
            f"data.classes has other names for {listed(list(synonyms))}, but {data} has {listed(names)}; write the "
            "names of the data before the colons, and those of the model after them"
        )
    classes = tuple(dict.fromkeys(synonyms.get(name, name) for name in names))
    if len(classes) < 2 <= len(names):
        raise UserError(f"data.classes calls all classes of {data} {classes[0]}; leave at least two")
    places = {name: place for place, name in enumerate(classes)}
    return classes, {name: places[synonyms.get(name, name)] for name in names}
