"""Techniques that only fail once a model is trained."""

import os
from typing import Any

from tfcompress.optimize.pruning import Prune


class Failing(Prune):
    """Raises what a library would."""

    def finalize(self, wrapped: Any) -> Any:
        raise TypeError('Exception encountered when calling layer "head":\nunsupported operand')


class Aborting(Prune):
    """Ends the process, as a failed check in a library does."""

    def finalize(self, wrapped: Any) -> Any:
        os.write(2, b"F0000 quantizer.cc:7] Check failed: scale > 0\n")
        os.abort()
