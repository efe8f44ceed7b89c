from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def cores_apart(tmp_path_factory):
    """Lets the workers of Ray hold cores of which the tests of other files, which may run beside them, know nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("cores")))
        patch.setenv("RAY_TMPDIR", "/tmp")  # Ray's sockets need short paths.
        yield
