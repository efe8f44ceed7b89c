import warnings

import pytest
from pydantic import Field

from tfcompress.cli.program import as_user_sees
from tfcompress.settings import Settings


class Renamed(Settings):
    rate: float = Field(0.5, deprecated="`rate` is deprecated, set `sparsity` instead")


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning, UserWarning])
def test_a_warning_of_our_own_is_one_line(capsys, category):
    with as_user_sees():
        warnings.warn_explicit("`Old` is deprecated:\nuse `New`", category, "old.py", 1, module="tfcompress.old")
    assert capsys.readouterr().err == "warning: `Old` is deprecated: use `New`\n"


def test_a_deprecated_key_says_what_replaces_it(capsys):
    with as_user_sees():
        assert Renamed(rate=0.25).rate == 0.25
    assert capsys.readouterr().err == "warning: `rate` is deprecated, set `sparsity` instead\n"


@pytest.mark.parametrize("module", ["tf_keras", "tensorflow.python.ops", "importlib._bootstrap"])
@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning, UserWarning, RuntimeWarning])
def test_a_warning_of_a_library_is_not_shown(capsys, module, category):
    with as_user_sees():
        warnings.warn_explicit("it will change", category, "library.py", 1, module=module)
    assert capsys.readouterr().err == ""


def test_modules_with_a_librarys_name_in_front_are_no_library(capsys):
    with as_user_sees():
        warnings.warn_explicit("seen", UserWarning, "mine.py", 1, module="numpy_of_mine")
    assert capsys.readouterr().err == "warning: seen\n"


def test_filters_are_as_they_were_afterwards():
    before = warnings.filters[:], warnings.showwarning
    with as_user_sees():
        assert warnings.filters != before[0]
    assert (warnings.filters, warnings.showwarning) == before
