import os
import subprocess
import sys

import pytest

from tfcompress.keras3 import without_keras3

IMPORTS = """
import sys
from tfcompress.keras3 import without_keras3

with without_keras3():
    import tfcompress.runs.rehearsal
print(*{"keras", "matplotlib", "scipy.stats", "sklearn", "tensorflow_model_optimization"} & sys.modules.keys())
from tensorflow.keras.layers import Dense
import keras
print(Dense is keras.layers.Dense)
"""


def test_what_a_rehearsal_needs_is_imported_without_keras3_which_can_be_imported_afterwards():
    # tfmot sets it in a process that imported it before.
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "tensorflow_model_optimization\nTrue\n"


def test_what_is_imported_already_stays():
    import keras

    with without_keras3():
        import keras as again
    assert again is keras


def test_other_modules_are_found_in_the_block(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without_keras3():
        import colorsys

        with pytest.raises(ImportError, match="not imported"):
            __import__("keras")
    assert colorsys.__name__ == "colorsys"
