from __future__ import annotations

import sys

import pytest

from tfcompress.errors import UserError
from tfcompress.study import engines


def test_this_process_calls_at_once_and_keeps_the_error(tmp_path):
    with engines.engine() as here:
        assert here.submit(divmod, 7, 2).result(0) == (3, 1)
        failed = here.submit(divmod, 1, 0)
        assert isinstance(failed.exception(0), ZeroDivisionError)
        assert here.shares(tmp_path)
        assert not here.parallel


@pytest.mark.parametrize("name", ["", "dask", "ray://", "local://here"])
def test_an_unknown_engine_is_refused(name):
    with (
        pytest.raises(UserError, match=r"engine '.*' is not known; use local, ray .* ray://HOST:PORT"),
        engines.engine(name),
    ):
        pass


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs Ray: pip install 'tfcompress\[ray\]'"), engines.engine("ray"):
        pass
