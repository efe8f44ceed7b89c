"""The exception for mistakes that the user can fix, which the runtime raises too, and what other exceptions say."""

import re

from tfcompress_runtime.errors import UserError

__all__ = ["UserError", "first_line", "is_out_of_memory"]

_OUT_OF_MEMORY = re.compile(r"OOM when allocating tensor with shape\S+ and type \w+")
"""What TensorFlow's ResourceExhaustedError, which also stands for a full disk, says somewhere in its message."""

_TYPE = re.compile(r"\w+(?:Error|Exception): ")


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message that says what is wrong, or the name of its type if none does."""
    if out_of_memory := _OUT_OF_MEMORY.search(str(error)):
        return out_of_memory[0]
    lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line]
    if len(lines) > 1 and lines[0].startswith("Exception encountered when calling"):  # Keras says where, then what
        del lines[0]
    if lines[:1] == ["in user code:"]:  # so does AutoGraph, which names the type of the error
        lines = [line[match.end() :] for line in lines if (match := _TYPE.match(line))]
    return (lines or [type(error).__name__])[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out, in Python, NumPy or TensorFlow."""
    return isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None
