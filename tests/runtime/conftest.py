from __future__ import annotations

import os

import pytest

import tfcompress.runtime as runtime
from tfcompress.errors import UserError


@pytest.fixture(scope="session")
def library() -> str:
    """The delegate's library; without a C++ compiler there is none, except where CI=1."""
    try:
        return str(runtime.library())
    except UserError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
