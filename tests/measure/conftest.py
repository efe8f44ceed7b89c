from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files as other projects make them, by what is special about them."""
    from .foreign import write

    return write(tmp_path_factory.mktemp("foreign"))
