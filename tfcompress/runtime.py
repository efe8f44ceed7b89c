"""Runs packed files: `tfcompress_runtime`, a distribution of its own, by the name that it has here."""

from tfcompress_runtime import LENGTH, LIBRARY, OPERATORS, Arrays, Interpreter, library, load_delegate

__all__ = ["LENGTH", "LIBRARY", "OPERATORS", "Arrays", "Interpreter", "library", "load_delegate"]
