"""What tests of runs share."""

import pickle

import pytest

from tfcompress.runs import rehearsal


@pytest.fixture
def rehearsed_here(monkeypatch, tmp_path):
    """Turns rehearsals on, which are sent to this process."""

    def call(whose, advice, function, script, folder):
        function(pickle.loads(pickle.dumps(script)), folder)
        performed.append(script)

    performed = []
    monkeypatch.delenv(rehearsal.SWITCH)
    monkeypatch.setattr(rehearsal, "call_apart", call)
    monkeypatch.setenv("TFCOMPRESS_CACHE", str(tmp_path / "cache"))
    return performed
