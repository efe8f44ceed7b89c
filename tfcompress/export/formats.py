"""The formats that a `.tflite` file can store its weights in."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["float32", "float16", "dynamic", "int8", "int8-full", "int4"]
"""All formats.

- `float32`, `float16`: the weights as numbers of this type.
- `dynamic`: int8 weights; activations are quantized at run time.
- `int8`: weights and activations are int8 in dense layers, convolutions and tables.
- `int8-full`: weights and activations are int8 in every operator.
- `int4`: as `dynamic`, with 4-bit weights in dense layers.
"""

FORMATS: tuple[Format, ...] = get_args(Format)

ConverterFormat = Literal["float32", "float16", "dynamic", "int8"]
"""What TensorFlow's converter writes; `int8` only of a model that went through quantization-aware training."""

RecipeFormat = Literal["float32", "float16", "dynamic"]
"""What a recipe's `export.formats` can ask for. Its int8 files come from the technique quantize."""

CALIBRATED_FORMATS: tuple[Format, ...] = ("int8", "int8-full")
"""What needs examples to calibrate with, unless quantization-aware training has set the ranges already."""
