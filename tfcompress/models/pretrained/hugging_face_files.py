"""Reads the JSON and safetensors files of a checkpoint in Hugging Face's layout.

Of safetensors (https://huggingface.co/docs/safetensors) whole files and shards are read, with real numbers of 16 to 64
bits.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tfcompress.errors import UserError
from tfcompress.models.pretrained.checkpoint import Array

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-\d+-of-(\d+)\.safetensors")
_OTHER_FORMATS = {
    "pytorch_model.bin": "",
    "pytorch_model.bin.index.json": "",
    "tf_model.h5": ", from_tf=True",
    "flax_model.msgpack": ", from_flax=True",
}
"""Weights in other formats, with the argument by which `from_pretrained` of transformers reads them."""

_REAL = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
_Kind = TypeVar("_Kind")
_AGAIN = "download the checkpoint again"


@dataclass(frozen=True)
class Files:
    """The files of a checkpoint.

    Attributes:
        source: name of the checkpoint in errors.
        names: of the files, with `/` in front of those in its folders.
        read: returns the content of one of them.
    """

    source: str
    names: frozenset[str]
    read: Callable[[str], bytes]

    @classmethod
    def of_folder(cls, folder: Path) -> Files:
        """Makes the files of a folder; raises a `UserError` if it is none."""
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; name one with config.json and model.safetensors")

        def read(name: str) -> bytes:
            try:
                return (folder / name).read_bytes()
            except OSError as error:
                raise UserError(f"cannot read {folder / name}: {error.strerror}; {_AGAIN}") from error

        found = [path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file()]
        return cls(str(folder), frozenset(path.relative_to(folder).as_posix() for path in found), read)

    def within(self, folder: str) -> Files:
        """Returns the files of one of its folders; of an empty name, these files."""
        if not folder:
            return self
        prefix = f"{folder}/"
        names = frozenset(name.removeprefix(prefix) for name in self.names if name.startswith(prefix))
        return Files(f"{self.source}/{folder}", names, lambda name: self.read(prefix + name))


def read_object(files: Files, name: str) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Raises:
        UserError: there is no such file, or it does not hold a JSON object.
    """
    return _read(files, name, dict, "an object")


def read_list(files: Files, name: str) -> list[Any]:
    """Returns the JSON array in a file, for the rest see `read_object`."""
    return _read(files, name, list, "an array")


def _read(files: Files, name: str, kind: type[_Kind], called: str) -> _Kind:
    if name not in files.names:
        raise UserError(f"{files.source} has no {name}; name a folder with config.json and model.safetensors")
    content = files.read(name)
    _check_downloaded(content, name, files.source)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} of {files.source} is not valid JSON: {error}; {_AGAIN}") from error
    if not isinstance(values, kind):
        raise UserError(f"{name} of {files.source} holds a {type(values).__name__} instead of {called}; {_AGAIN}")
    return values


def read_optional(files: Files, name: str) -> dict[str, Any]:
    """Returns the JSON object in a file, which is empty if there is no such file; for the rest see `read_object`."""
    return read_object(files, name) if name in files.names else {}


def read_tensors(files: Files, architecture: str, convert: str | None = None) -> dict[str, Array]:
    """Returns the tensors of real numbers by name, as float32.

    Args:
        files: of the checkpoint.
        architecture: class of transformers that the checkpoint was saved with, for the advice in errors.
        convert: Python code that writes the weights as safetensors, by default by that class.

    Raises:
        UserError: the weights are missing, incomplete, damaged, quantized, or in another format than safetensors.
    """
    found: dict[str, Array] = {}
    for name in _parts(files, architecture, convert):
        found |= _tensors(files.read(name), name, files.source)
    return found


def _parts(files: Files, architecture: str, convert: str | None) -> list[str]:
    """Returns the names of the safetensors files that hold the weights together."""
    if _WHOLE in files.names:
        return [_WHOLE]
    if _INDEX in files.names:
        shards = read_object(files, _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
            raise UserError(f"{_INDEX} of {files.source} names no files in its weight_map; {_AGAIN}")
        return _complete(files, sorted(set(shards.values())), _INDEX)
    shards = {name: match for name in files.names if (match := _SHARD.fullmatch(name))}
    if shards:
        first, match = next(iter(sorted(shards.items())))
        total = int(match[1])
        return _complete(files, [f"model-{i:05}-of-{total:05}.safetensors" for i in range(1, total + 1)], first)
    raise UserError(_without_weights(files, architecture, convert))


def _complete(files: Files, names: list[str], naming: str) -> list[str]:
    missing = [name for name in names if name not in files.names]
    if missing:
        raise UserError(f"{files.source} has no {', '.join(missing)}, which {naming} names; {_AGAIN}")
    return names


def _without_weights(files: Files, architecture: str, convert: str | None) -> str:
    """Returns the message for a checkpoint without safetensors."""
    if "adapter_config.json" in files.names:
        return (
            f"{files.source} holds an adapter of PEFT, not a whole model; save the model after merge_and_unload and "
            "name that folder"
        )
    other = next((name for name in _OTHER_FORMATS if name in files.names), None)
    if other is None:
        return f"{files.source} has no {_WHOLE}; name a folder with config.json and {_WHOLE}"
    code = convert or (
        f"from transformers import {architecture} as M; "
        f"M.from_pretrained({files.source!r}{_OTHER_FORMATS[other]}).save_pretrained({files.source!r})"
    )
    return (
        f"{files.source} has {other} but no {_WHOLE}, and only the latter is read; make it where {code.split()[1]} is "
        f"installed: python -c {shlex.quote(code)}"
    )


def _tensors(content: bytes, name: str, source: str) -> dict[str, Array]:
    from safetensors import SafetensorError, deserialize

    _check_downloaded(content, name, source)
    try:
        found = deserialize(content)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{name} of {source} cannot be read: {error}; {_AGAIN}") from error
    del content
    return dict(_real(found, f"{name} of {source}"))


def _real(found: list[tuple[str, dict[str, Any]]], where: str) -> Iterator[tuple[str, Array]]:
    """Yields the tensors of real numbers; position ids and similar buffers of whole numbers are left out."""
    for name, tensor in found:
        kind = tensor["dtype"]
        if kind == "BF16":  # the upper half of a float32
            array = (np.frombuffer(tensor["data"], "<u2").astype(np.uint32) << 16).view(np.float32)
        elif kind in _REAL:
            array = np.frombuffer(tensor["data"], _REAL[kind]).astype(np.float32)
        elif name.endswith((".weight", ".bias")):
            raise UserError(
                f"{where} holds {name} as {kind}, so it was quantized; accepted are BF16, {', '.join(_REAL)}: use the "
                "checkpoint that it was made from"
            )
        else:
            continue
        if not np.isfinite(array).all():
            raise UserError(f"{where}: {name} has values that are not finite numbers; use an undamaged checkpoint")
        yield name, array.reshape(tensor["shape"])


def _check_downloaded(content: bytes, name: str, source: str) -> None:
    if content.startswith(b"version https://git-lfs"):
        raise UserError(f"{name} of {source} is only a pointer of Git LFS; fetch the file itself with `git lfs pull`")
