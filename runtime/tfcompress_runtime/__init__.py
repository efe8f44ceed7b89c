"""tfcompress_runtime runs `.tflite` files that tfcompress packed: LiteRT with a delegate, whose C++ is in `native/`."""

from typing import TYPE_CHECKING, Any

from tfcompress_runtime.errors import UserError

if TYPE_CHECKING:
    from tfcompress_runtime.interpreter import LENGTH, LIBRARY, OPERATORS, Arrays, Interpreter, library, load_delegate

__all__ = ["LENGTH", "LIBRARY", "OPERATORS", "Arrays", "Interpreter", "UserError", "library", "load_delegate"]


def __getattr__(name: str) -> Any:
    # On first use, because numpy and LiteRT take time to import, and UserError needs neither.
    if name in __all__:
        from tfcompress_runtime import interpreter

        return getattr(interpreter, name)
    raise AttributeError(f"module 'tfcompress_runtime' has no attribute {name!r}")
