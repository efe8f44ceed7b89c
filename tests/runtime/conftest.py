from __future__ import annotations

import pytest

import tfcompress.runtime as runtime

from ..native import has_runtime


@pytest.fixture(scope="session")
def library() -> str:
    """The delegate's library."""
    if not has_runtime():
        pytest.skip("no clustered runtime: there was no C++ compiler when tfcompress was installed")
    return str(runtime.library())
