"""Runs a stock file by YNNPACK, XNNPACK's successor, once LiteRT's package has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import compiled_model as litert

from tfcompress.quiet import native_libraries_quiet


def inference(path: Path, example: Mapping[str, Any], threads: int) -> Callable[[], None] | None:
    """Loads a file, and returns a function that runs it; None if LiteRT was compiled without YNNPACK.

    Args:
        path: of a stock file.
        example: features without a batch axis, by input name.
        threads: of each inference.
    """
    options = litert.Options(cpu_options=litert.CpuOptions(num_threads=threads, enable_ynnpack=True))
    options.hardware_accelerators = litert.HardwareAccelerator.CPU
    with native_libraries_quiet():
        try:
            model = litert.CompiledModel.from_file(str(path), options=options)
        except RuntimeError:  # The reason is only printed.
            return None
    (key,) = model.get_signature_list()
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    details = model.get_input_tensor_details(key)
    for name, buffer in zip(model.get_signature_list()[key]["inputs"], inputs, strict=True):
        buffer.write(np.ascontiguousarray(example[name], details[name]["dtype"])[None])
    return lambda: model.run_by_index(0, inputs, outputs)
