"""What a model's answers are, and how good they are: nothing else knows the kinds of tasks.

A task reads labels and the outputs of files: probabilities of the classes, numbers, or embeddings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.answers import IGNORED, End
from tfcompress.errors import UserError
from tfcompress.measure.interpreter import FloatArray
from tfcompress.measure.quality import TOP1, Labels, Metric, Scores, likely, predicted

_MANY_CLASSES = 100
"""From so many classes on, top-5 is told, too."""
_UNBALANCED = 3
"""If one class has so many times the examples of another, F1 is told, too."""


class Task(ABC):
    """What one example's label is, and how answers are judged.

    Attributes:
        name: as recipes write it.
        end: what turns logits into answers.
        answers: what a file calls its output; empty if outputs keep their own names.
        has_classes: whether the data have classes with names.
        has_loss: whether labels say what the outputs should be, so that a model can be trained without the user's loss.
        together: how many examples, one after the other, are judged together.
    """

    name: ClassVar[str]
    end: ClassVar[End] = "none"
    answers: ClassVar[str] = "probabilities"
    has_classes: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    together: ClassVar[int] = 1

    @abstractmethod
    def check(self, labels: Labels, classes: Sequence[str], where: str) -> None:
        """Raises a `UserError` that begins with `where` if labels are of another kind, or out of range."""

    @abstractmethod
    def metrics(self, labels: Labels) -> tuple[Metric, ...]:
        """Returns the figures that are told, of which the first decides."""

    @abstractmethod
    def spec(self, classes: int) -> tf.TensorSpec | None:
        """Returns the type and shape of one example's label; None if it may be any tensor."""

    def elsewhere(self) -> Task:
        """Returns the task as another process can make it again, where nothing is judged."""
        return self

    @abstractmethod
    def shapes(self, classes: int) -> tuple[tuple[int | None, ...], ...]:
        """Returns the shapes that the answer for one example may have, first that of a new head; none if any may."""

    def judges(self, shape: Sequence[int | None], classes: int) -> bool:
        """Returns whether outputs of this shape per example can be judged."""
        accepted = self.shapes(classes)
        return not accepted or any(tf.TensorShape(shape).is_compatible_with(one) for one in accepted)


@dataclass(frozen=True)
class Classification(Task):
    """One class of several. Labels are int `(n,)`, outputs `(n, classes)`, or `(n, 1)`: the probability of class 1."""

    name: ClassVar[str] = "classification"
    end: ClassVar[End] = "softmax"

    def check(self, labels: Labels, classes: Sequence[str], where: str) -> None:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(classes):
            wrong = low if low < 0 else high
            raise UserError(
                f"{where} has the label {wrong}, but there are {len(classes)} classes; labels must be 0 to "
                f"{len(classes) - 1}"
            )

    def metrics(self, labels: Labels) -> tuple[Metric, ...]:
        found = [TOP1]
        counts = np.bincount(labels)
        if len(counts) >= _MANY_CLASSES:
            found.append(Metric("top-5", _top5))
        counts = counts[counts > 0]
        if counts.max() >= _UNBALANCED * counts.min():
            found.append(Metric("macro F1", lambda y, p: np.stack([y, predicted(p)], 1), _macro_f1))
        return tuple(found)

    def spec(self, classes: int) -> tf.TensorSpec:
        return tf.TensorSpec((), tf.int32)

    def shapes(self, classes: int) -> tuple[tuple[int | None, ...], ...]:
        return ((classes,), (1,)) if classes == 2 else ((classes,),)


@dataclass(frozen=True)
class Multilabel(Task):
    """Any of several classes. Labels are 0 or 1 `(n, classes)`, outputs probabilities `(n, classes)`."""

    name: ClassVar[str] = "multilabel"
    end: ClassVar[End] = "sigmoid"

    def check(self, labels: Labels, classes: Sequence[str], where: str) -> None:
        if labels.ndim != 2 or labels.shape[1] != len(classes) or not np.isin(labels, (0, 1)).all():
            raise UserError(
                f"{where} has labels of the shape {labels.shape[1:]} from {labels.min()} to {labels.max()}; multilabel "
                f"takes a 0 or 1 for each of the {len(classes)} classes"
            )

    def metrics(self, labels: Labels) -> tuple[Metric, ...]:
        return (
            Metric("exact match", lambda y, p: (likely(p) == (y > 0.5)).all(axis=1)),
            Metric("mAP", _ranked, _mean_average_precision),
        )

    def spec(self, classes: int) -> tf.TensorSpec:
        return tf.TensorSpec((classes,), tf.float32)

    def shapes(self, classes: int) -> tuple[tuple[int | None, ...], ...]:
        return ((classes,),)


@dataclass(frozen=True)
class Regression(Task):
    """A number. Labels are float `(n,)`, outputs `(n, 1)`."""

    name: ClassVar[str] = "regression"
    answers: ClassVar[str] = "numbers"
    has_classes: ClassVar[bool] = False

    def check(self, labels: Labels, classes: Sequence[str], where: str) -> None:
        if labels.ndim != 1 or not np.isfinite(labels).all():
            raise UserError(f"{where} has labels that are not finite numbers, one per example; regression takes such")

    def metrics(self, labels: Labels) -> tuple[Metric, ...]:
        return (
            Metric("MAE", lambda y, p: np.abs(p[:, 0] - y), higher_is_better=False, percent=False),
            Metric("Pearson", lambda y, p: np.stack([y, p[:, 0]], 1), _pearson),
            Metric("Spearman", lambda y, p: np.stack([y, p[:, 0]], 1), _spearman),
        )

    def spec(self, classes: int) -> tf.TensorSpec:
        return tf.TensorSpec((), tf.float32)

    def shapes(self, classes: int) -> tuple[tuple[int | None, ...], ...]:
        return ((1,),)


@dataclass(frozen=True)
class Embedding(Task):
    """A vector whose direction tells what an example means. Examples 2i and 2i + 1 are pair i, with the same label.

    Labels are float `(n,)`: how alike the two of a pair are, on any scale. Outputs are `(n, width)`.
    """

    name: ClassVar[str] = "embedding"
    answers: ClassVar[str] = "embedding"
    has_classes: ClassVar[bool] = False
    has_loss: ClassVar[bool] = False
    together: ClassVar[int] = 2

    def check(self, labels: Labels, classes: Sequence[str], where: str) -> None:
        paired = labels.ndim == 1 and len(labels) % 2 == 0 and np.isfinite(labels).all()
        if not paired or not np.array_equal(labels[::2], labels[1::2]):
            raise UserError(
                f"{where} does not hold pairs with one finite score each; embedding takes two examples a pair, one "
                "after the other, both with the score of the pair"
            )

    def metrics(self, labels: Labels) -> tuple[Metric, ...]:
        def scores(y: Labels, p: FloatArray) -> Scores:
            return np.stack([y[::2], _cosines(p[::2], p[1::2])], 1)

        return (Metric("Spearman of cosines", scores, _spearman, case="pair"),)

    def spec(self, classes: int) -> tf.TensorSpec:
        return tf.TensorSpec((), tf.float32)

    def shapes(self, classes: int) -> tuple[tuple[int | None, ...], ...]:
        return ((None,),)


@dataclass(frozen=True)
class TokenClassification(Task):
    """A class per token. Labels are int `(n, tokens)`, `IGNORED` where none counts; outputs `(n, tokens, classes)`.

    Attributes:
        classes: names of the classes, in the IOB2 scheme if they are entities: `O`, `B-PER`, `I-PER`, …
    """

    classes: tuple[str, ...]
    name: ClassVar[str] = "tokens"
    end: ClassVar[End] = "softmax"

    def check(self, labels: Labels, classes: Sequence[str], where: str) -> None:
        if labels.ndim != 2 or labels.min() < IGNORED or labels.max() >= len(classes):
            raise UserError(
                f"{where} has labels of the shape {labels.shape[1:]} from {labels.min()} to {labels.max()}; tokens "
                f"takes one of 0 to {len(classes) - 1} for each token, or {IGNORED} where none counts"
            )

    def metrics(self, labels: Labels) -> tuple[Metric, ...]:
        accuracy = Metric("token accuracy", _tokens_right, _ratio)
        if not any(name.startswith("B-") for name in self.classes):
            return (accuracy,)
        return (Metric("entity F1", self._entities, _f1_of_counts), accuracy)

    def spec(self, classes: int) -> tf.TensorSpec:
        return tf.TensorSpec((None,), tf.int32)

    def shapes(self, classes: int) -> tuple[tuple[int | None, ...], ...]:
        return ((None, classes),)

    def _entities(self, labels: Labels, outputs: FloatArray) -> Scores:
        """Returns `(n, 3)`: the entities that are right, found and there, in each example."""
        rows = []
        for truth, answer in zip(labels, outputs.argmax(axis=-1), strict=True):
            judged = truth != IGNORED
            there, found = (entities([self.classes[i] for i in ids[judged]]) for ids in (truth, answer))
            rows.append((len(there & found), len(found), len(there)))
        return np.array(rows)


@dataclass(frozen=True)
class OwnTask(Task):
    """A task that the user judges, of a model with any outputs, from Python.

    Attributes:
        score: takes labels `(n, …)` and the outputs, an array `(n, …)` or of several outputs such arrays by name;
            returns one number or truth value per example, `(n,)`.
        metric: the name of its mean.
        higher_is_better, percent: see `Metric`.
    """

    score: Callable[[Any, Any], Scores]
    metric: str = "score"
    higher_is_better: bool = True
    percent: bool = False
    name: ClassVar[str] = "own"
    answers: ClassVar[str] = ""
    has_classes: ClassVar[bool] = False
    has_loss: ClassVar[bool] = False

    def check(self, labels: Labels, classes: Sequence[str], where: str) -> None:
        pass

    def metrics(self, labels: Labels) -> tuple[Metric, ...]:
        better, percent = self.higher_is_better, self.percent
        return (Metric(self.metric, self.score, higher_is_better=better, percent=percent, of_all=True),)

    def elsewhere(self) -> Task:
        return replace(self, score=_nothing)

    def spec(self, classes: int) -> None:
        return None

    def shapes(self, classes: int) -> tuple[tuple[int | None, ...], ...]:
        return ()


KINDS: Mapping[str, type[Task]] = {
    task.name: task for task in (Classification, Multilabel, Regression, Embedding, TokenClassification)
}
"""The tasks that a recipe can name."""


def named(name: str, classes: Sequence[str] = ()) -> Task:
    """Returns the task that a recipe names, for data with these classes."""
    if name == TokenClassification.name:
        return TokenClassification(tuple(classes))
    return KINDS[name]()


def describe_task(name: str, data: str, classes: int) -> str:
    """Returns what a model of a task does, for the metadata of its file; empty or ends in a space.

    Args:
        name: of the task.
        data: name of the data set.
        classes: their number.
    """
    into = f"into {classes} classes. "
    return {
        Classification.name: f"Classifies {data} {into}",
        Multilabel.name: f"Sorts {data} into any of {classes} classes. ",
        Regression.name: f"Gives a number for {data}. ",
        Embedding.name: "Gives an embedding. ",
        TokenClassification.name: f"Classifies the tokens of {data} {into}",
    }.get(name, "")


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Returns the entities of IOB2 tags as (type, first, end), by CoNLL's rules, which seqeval's default mode keeps.

    An `I-` that follows `O` or another type begins an entity as well (Tjong Kim Sang and De Meulder, CoNLL 2003).
    """
    found, kind, first = set(), "", 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind and (prefix in ("B", "O") or name != kind):
            found.add((kind, first, place))
            kind = ""
        if prefix in ("B", "I") and not kind:
            kind, first = name, place
    return found


def _nothing(labels: Any, outputs: Any) -> Scores:
    raise AssertionError("`elsewhere` promises that nothing is judged")


def _top5(labels: Labels, outputs: FloatArray) -> Scores:
    best = np.argpartition(outputs, -5, axis=1)[:, -5:]
    return np.asarray((best == labels[:, None]).any(axis=1))


def _macro_f1(rows: Scores) -> float:
    """Returns the mean F1 of the classes in labels and predictions `(n, 2)`."""
    truth, answer = rows.T
    classes = rows.max() + 1
    right = np.bincount(truth[truth == answer], minlength=classes)
    counts = np.bincount(truth, minlength=classes) + np.bincount(answer, minlength=classes)
    there = counts > 0
    return float((2 * right[there] / counts[there]).mean())


def _ranked(labels: Labels, outputs: FloatArray) -> Scores:
    """Returns `(n, classes)`: twice the rank among the class's probabilities, of which the highest is 1, plus label."""
    from scipy.stats import rankdata  # takes a second to import

    return np.asarray(2 * rankdata(-outputs, "dense", axis=0) + (labels > 0.5), np.int32)


def _mean_average_precision(rows: Scores) -> float:
    """Returns the mean over classes of the average precision.

    Precision is averaged over the examples that have the class, each together with all that are as probable or more; a
    class without examples is left out.
    """
    found = []
    for ordered in np.sort(rows.T):  # Whole numbers are sorted several times as fast as probabilities.
        ranks, hits = ordered >> 1, ordered & 1
        if hits.any():
            taken = np.searchsorted(ranks, ranks[hits > 0], side="right")
            found.append((np.cumsum(hits)[taken - 1] / taken).mean())
    return float(np.mean(found)) if found else 0.0


def _pearson(rows: Scores) -> float:
    """Returns the correlation of `(n, 2)`; 0 if one of the two is constant."""
    # SciPy's takes ten times as long for its p-value, and resampling asks thousands of times.
    return float(np.corrcoef(rows.T)[0, 1]) if np.ptp(rows, axis=0).all() else 0.0


def _spearman(rows: Scores) -> float:
    """Returns the correlation of the ranks of `(n, 2)`."""
    from scipy.stats import rankdata  # takes a second to import

    return _pearson(rankdata(rows, axis=0))


def _cosines(a: FloatArray, b: FloatArray) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1, dtype=np.float64) / np.maximum(lengths, 1e-12))


def _tokens_right(labels: Labels, outputs: FloatArray) -> Scores:
    """Returns `(n, 2)`: the tokens that are right, and those that count, in each example."""
    judged = labels != IGNORED
    right = (outputs.argmax(axis=-1) == labels) & judged
    return np.stack([right.sum(axis=1), judged.sum(axis=1)], axis=1)


def _ratio(rows: Scores) -> float:
    right, judged = rows.sum(axis=0)
    return float(right / judged) if judged else 0.0


def _f1_of_counts(rows: Scores) -> float:
    right, found, there = rows.sum(axis=0)
    return float(2 * right / (found + there)) if found + there else 1.0
