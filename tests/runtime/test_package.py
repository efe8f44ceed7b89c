"""The runtime is a package of its own, which tfcompress offers under another name."""

import subprocess
import sys

import pytest

import tfcompress_runtime
from tfcompress import errors, runtime


def test_tfcompress_offers_the_same_names():
    assert errors.UserError is tfcompress_runtime.UserError
    for name in runtime.__all__:
        assert getattr(runtime, name) is getattr(tfcompress_runtime, name)
    with pytest.raises(AttributeError, match="'tfcompress_runtime' has no attribute 'nothing'"):
        _ = tfcompress_runtime.nothing


def loaded(code: str) -> set[str]:
    """The packages that a new Python has loaded after `code`."""
    code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_the_interpreter_needs_neither_tensorflow_nor_tfcompress():
    assert not {"tensorflow", "tf_keras", "tfcompress"} & loaded("from tfcompress_runtime import Interpreter")


def test_errors_load_neither_numpy_nor_litert():
    assert not {"numpy", "ai_edge_litert"} & loaded("from tfcompress.errors import UserError")
