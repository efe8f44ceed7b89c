"""What users set in YAML: its base class, and errors that name the place of a mistake."""

from __future__ import annotations

import io
import typing
from datetime import date
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tfcompress.errors import UserError, first_line


class Settings(BaseModel):
    """Base of a recipe's settings and of its techniques': immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def checked(cls, content: object, source: str) -> Self:
        """Returns the settings in parsed YAML. Error messages call it `source`.

        Raises:
            UserError: a setting is wrong; the message names its path, what was found and what is accepted.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            details = error.errors()
            # Where both settings and `false` are accepted, pydantic also reports wrong settings as not being `false`.
            telling = [detail for detail in details if "literal[False]" not in detail["loc"]] or details
            raise UserError(f"{source}: " + "; ".join(_explained(cls, detail) for detail in telling)) from None


def parse_yaml(text: str, source: str) -> Any:
    """Returns the content of YAML; `source` names it in the `UserError` for what is none."""
    try:
        content = YAML(typ="safe", pure=True).load(text)
        loops = _has_itself(content)
    except RecursionError:
        raise UserError(f"{source}: not valid YAML: it is nested too deeply; write fewer levels") from None
    except (YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or first_line(error)
        raise UserError(f"{source}: not valid YAML{where}: {problem}") from None
    if loops:
        raise UserError(f"{source}: an alias stands inside what its anchor names; write out what is meant")
    return content


def _has_itself(value: object, around: frozenset[int] = frozenset()) -> bool:
    """Returns whether parsed YAML contains a mapping or list that contains itself."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return id(value) in around or any(_has_itself(one, around | {id(value)}) for one in inside)


def to_yaml(content: object) -> str:
    """Returns content that JSON can hold as YAML."""
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.dump(content, text)
    return text.getvalue()


def _explained(kind: type[BaseModel], detail: Any) -> str:
    """Turns one of pydantic's errors into `path: what is wrong, what was found, what is accepted`."""
    path, keys = "", list(kind.model_fields)
    current: Any = kind
    for part in detail["loc"]:
        if isinstance(part, int) or part == "[key]":
            path += f"[{part}]" if isinstance(part, int) else ""
            continue
        inner = _models_in(current)
        # pydantic adds the union member that it tried to the path, as `Name` or `function-after[…, Name]`.
        member = next((model for model in inner if part.split(", ")[-1].rstrip("]") == model.__name__), None)
        if member is not None or part == "literal[False]":
            current = member or current
            continue
        path += f".{part}" if path else part
        owner = next((model for model in inner if part in model.model_fields), None)
        keys = [key for model in inner for key in model.model_fields]
        if owner is not None:
            current = owner.model_fields[part].annotation
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key; the keys are {', '.join(keys)}"
    message, found = detail["msg"].removeprefix("Value error, "), detail["input"]
    if detail["type"] == "model_type" and (inner := _models_in(current)):
        message = f"it takes {', '.join(inner[0].model_fields)}"
    if detail["type"] not in ("value_error", "missing"):
        message += ", not nothing" if found is None else f", not {found!r}"
    if detail["type"] == "string_type" and isinstance(found, (bool, int, float, date)):
        message += "; put it in quotes"
    return f"{path}: {message}" if path else message


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Returns the pydantic models that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]
