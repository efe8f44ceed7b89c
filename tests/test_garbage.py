import gc
import sys
import weakref

from tfcompress.garbage import importing


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def is_left(cycle: weakref.ref) -> bool:
    gc.collect()
    return cycle() is not None


def test_what_is_imported_is_never_looked_at(monkeypatch):
    with importing():
        assert not gc.isenabled()
        kept = weakref.ref(Cycle())
        monkeypatch.setitem(sys.modules, "a_new_module", gc)
    assert gc.isenabled()
    assert is_left(kept)


def test_without_an_import_everything_is_looked_at_again():
    with importing():
        found = weakref.ref(Cycle())
    assert not is_left(found)
