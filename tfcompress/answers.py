"""What data and models agree on about the answers of a task."""

from __future__ import annotations

from typing import Literal, TypeAlias

End: TypeAlias = Literal["softmax", "sigmoid", "none"]
"""What turns logits into the answers that a file gives."""

TaskName: TypeAlias = Literal["classification", "multilabel", "regression", "embedding", "tokens"]
"""What a model answers, as recipes name it."""

IGNORED = -1
"""The label of a token that is not judged: padding, a special token, or a later piece of a word."""
