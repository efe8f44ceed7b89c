"""Labelled examples in three fixed splits, and the order in which training sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.answers import IGNORED
from tfcompress.data.label_reading import accepted, fits, read_labels
from tfcompress.data.starting import starting_fast
from tfcompress.data.tasks import Classification, Task
from tfcompress.data.tokenizer import is_pair, is_sentence
from tfcompress.errors import UserError
from tfcompress.measure.quality import Labels
from tfcompress.pixel_range import PixelRange

_TOGETHER = 64  # Texts that a tokenizer takes at once.

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# What a model reads: one tensor (images), or one per input name (texts).
Features: TypeAlias = tf.Tensor | Mapping[str, tf.Tensor]
FeatureArrays: TypeAlias = npt.NDArray[np.generic] | Mapping[str, npt.NDArray[np.generic]]
Example: TypeAlias = tuple[Features, tf.Tensor]

Decode = Callable[[tf.Tensor], Features]
Align = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Augment = Callable[[Features, tf.Tensor, tf.Tensor], Example]
Targets = Callable[[Split, Features, tf.Tensor, tf.Tensor], tf.Tensor | tuple[tf.Tensor, ...]]
"""Makes the training targets of a batch from `(split, features, labels, indices)`.

`indices`, int64 `(batch,)`, are the positions of the examples within their split. Without such a function, the
targets are the labels.
"""


@dataclass(frozen=True)
class Dataset:
    """Labelled examples in three fixed splits.

    Attributes:
        name: the name that reports use.
        train, validation, test: unbatched, finite `tf.data` data sets of `(features, label)`, where the label is as
            the task says: a scalar integer for classification. The test split is used only for the final results. If
            nothing is trained, the other two may be empty.
        classes: names of the classes; label `i` means `classes[i]`. Empty for tasks without classes.
        task: what a label is, and how answers are judged.
        decode: converts the features of one example to the model's input, for instance a path to pixels. It is
            applied after shuffling. By default the features are the model's input. If it has a method `rows`, as
            tokenizers have, that gets a batch of features instead, which costs a tenth of one at a time.
        align: `(features, label) -> label`, applied to what `decode` has not changed yet: turns the labels of words
            into one per token. By default the labels are those of the decoded example.
        augment: `(features, label, seed) -> (features, label)`, applied to decoded training examples. `seed` is an
            int32 tensor of shape (2,) for `tf.image.stateless_*` and `tf.random.stateless_*`, which makes runs
            repeatable.
        shuffle_buffer: number of training examples in the shuffle buffer; the shuffle is uniform if the whole
            training split fits.
        pixel_range: the values of black and white in decoded pictures; only needed if they are neither 0 and 1 nor 0
            and 255.
        unlabelled: features like those of the splits, which are sampled if there are no training examples.
        class_weights: whether a training example weighs more, the fewer training examples have its class; the mean
            weight is 1. The metrics and the loss of the validation split are not weighted.

    Raises:
        UserError: the task does not give each example or token one class, which `class_weights` needs.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    classes: tuple[str, ...] = ()
    task: Task = Classification()  # noqa: RUF009 - immutable
    decode: Decode | None = None
    align: Align | None = None
    augment: Augment | None = None
    shuffle_buffer: int = 65_536
    pixel_range: PixelRange | None = None
    unlabelled: tf.data.Dataset | None = None
    class_weights: bool = False

    def __post_init__(self) -> None:
        spec = self._label_spec
        if self.class_weights and not (spec is not None and spec.dtype.is_integer):
            raise UserError(
                f"{self.name}: class_weights is true, but the labels of the task {self.task.name} are not one class "
                "each; leave it out"
            )

    @classmethod
    def from_arrays(
        cls,
        name: str,
        classes: Sequence[str],
        train: tuple[FeatureArrays, npt.NDArray[np.generic]],
        validation: tuple[FeatureArrays, npt.NDArray[np.generic]],
        test: tuple[FeatureArrays, npt.NDArray[np.generic]],
        **options: Any,
    ) -> Dataset:
        """Makes a data set from one pair of features and labels per split.

        Features are an array `(n, …)` or a dict of such arrays by input name; labels are an array `(n, …)` of what the
        task takes: integers `(n,)` for classification.

        Args:
            name: see `Dataset`.
            classes: see `Dataset`; empty for tasks without classes.
            train: features and labels.
            validation: features and labels.
            test: features and labels.
            **options: further attributes of `Dataset`, such as `task`, `decode` and `augment`.

        Raises:
            UserError: if features are a list, features and labels differ in length, the labels are not of the task's
                type and shape or out of range, or the test split is empty.
        """
        spec = options.get("task", cls.task).spec(len(classes))
        for features, labels in (train, validation, test):
            if isinstance(features, (list, tuple)):
                raise UserError(
                    f"{name}: the features are a {type(features).__name__}; pass one array, or a dict of arrays by "
                    "input name if the model has several inputs"
                )
            for array in tf.nest.flatten(features):
                if len(array) != len(labels):
                    raise UserError(
                        f"{name}: {len(array)} examples but {len(labels)} labels; pass one label per example"
                    )
            if "align" not in options and not fits(tf.TensorSpec(labels.shape[1:], labels.dtype), spec):
                raise UserError(
                    f"{name}: the labels are {labels.dtype} {labels.shape}; pass for each example {accepted(spec)}"
                )
        pairs = [(x, y if spec is None else y.astype(spec.dtype.as_numpy_dtype)) for x, y in (train, validation, test)]
        sets = [tf.data.Dataset.from_tensor_slices(pair) for pair in pairs]
        data = cls(name, sets[0], sets[1], sets[2], tuple(classes), **options)
        if data.align is None:  # Nothing need be read to know them.
            given = [np.array(y, np.int64 if y.dtype.kind in "iu" else None) for _, y in pairs]
            vars(data)["labels"] = {split: data._checked(split, y) for split, y in zip(SPLITS, given, strict=True)}
        return data

    def examples(self, split: Split) -> tf.data.Dataset:
        """Returns the decoded examples of a split in their fixed order, unbatched."""
        return self._decoded(self._indexed(split)).map(lambda _, example: example)

    def batches(self, split: Split, batch_size: int, targets: Targets | None = None) -> tf.data.Dataset:
        """Returns the decoded examples of a split in their fixed order, in batches; see `Targets`."""
        return _batched(self._decoded(self._indexed(split)), split, batch_size, targets)

    @property
    def inspected(self) -> Split:
        """The split whose examples show what they are like: validation, or else the first with examples."""
        order: tuple[Split, ...] = ("validation", "train", "test")
        return next(split for split in order if self.size(split))

    @property
    def can_be_sampled(self) -> bool:
        """Whether `sample` has examples to draw from."""
        return bool(self.size("train")) or self.unlabelled is not None

    def sample(self, examples: int, seed: int) -> Any:
        """Returns the decoded features of training examples drawn with `seed`, without augmentation.

        Without training examples, those of `unlabelled` are drawn.

        Args:
            examples: how many; all if there are fewer.
            seed: of the draw.

        Returns:
            An array `(examples, …)`, or a dict of such arrays by input name.

        Raises:
            UserError: there are neither.
        """
        if self.size("train"):
            features, _ = next(self.prepared(augment=None).stream(examples, seed, 0, 1).as_numpy_iterator())
            return features
        if self.unlabelled is None:
            raise UserError(
                f"{self.name} has no training examples, of which some are needed without their labels; give others as "
                "data.calibration in a recipe, or as Dataset(..., unlabelled=)"
            )
        drawn = self.unlabelled.shuffle(self.shuffle_buffer, seed, reshuffle_each_iteration=False)
        decoded = drawn if self.decode is None else drawn.map(self.decode, num_parallel_calls=2)
        return next(starting_fast(decoded.batch(examples)).as_numpy_iterator())

    def stream(
        self,
        batch_size: int,
        seed: int,
        first_epoch: int,
        epochs: int,
        targets: Targets | None = None,
        weighted: bool = False,
    ) -> tf.data.Dataset:
        """Returns the training batches of epochs `first_epoch` to `epochs - 1` in sequence; see `Targets`.

        They are features and targets, and if they are to be `weighted` and the classes are, the weight of each label.

        The order within an epoch depends only on `seed` and the number of the epoch, so a resumed run sees the same
        batches as an uninterrupted one. Every epoch has `steps_per_epoch` full batches.
        """
        self.check_not_empty("train")
        size, steps = self.size("train"), self.steps_per_epoch(batch_size)
        batch_size = min(batch_size, size)
        kept = steps * batch_size
        indexed, buffer = self._indexed("train"), min(size, self.shuffle_buffer)
        seeds = [seed * 1_000_003 + epoch for epoch in range(first_epoch, max(epochs, first_epoch + 1))]
        shuffled = [
            indexed.shuffle(buffer, seed=epoch_seed, reshuffle_each_iteration=False).take(kept) for epoch_seed in seeds
        ]
        decoded = self._decoded(_concatenated(shuffled))
        if self.augment is not None:
            decoded = self._augmented(decoded, seeds, kept)
        batches = _batched(
            decoded, "train", batch_size, targets, self._weights if weighted else None, drop_remainder=True
        )
        return batches.take((epochs - first_epoch) * steps)  # empty if all epochs are already done

    def check_not_empty(self, *splits: Split) -> None:
        """Raises a `UserError` if one of the splits is empty."""
        for split in splits:
            if not self.size(split):
                raise UserError(
                    f"{self.name}: the {split} split is empty, and at least one example is needed in it; add some, or "
                    "train nothing"
                )

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of full batches in the training split, at least one."""
        return max(1, self.size("train") // batch_size)

    def describe(self) -> dict[str, Any]:
        """Returns what identifies this data set.

        That is its name, classes, split sizes, a SHA-256 digest of the labels, the task unless it is classification,
        whether classes are weighted if they are, the range of its pixels if given, and that it has pairs if so.
        """
        labels = self.labels
        digest = hashlib.sha256(b"".join(labels[split].tobytes() for split in labels)).hexdigest()
        sizes = {str(split): len(found) for split, found in labels.items()}
        described: dict[str, Any] = {
            "name": self.name,
            "classes": list(self.classes),
            "examples": sizes,
            "labels_sha256": digest,
        }
        if self.task != Classification():
            described["task"] = self.task.name
        if self.class_weights:
            described["class_weights"] = True
        if self.pixel_range is not None:
            described["pixel_range"] = list(self.pixel_range)
        if is_pair(self.test.element_spec[0]):
            described["pairs"] = True
        return described

    def prepared(self, **changes: Any) -> Dataset:
        """Returns the same examples with another `decode`, `align`, `augment` or `pixel_range`.

        Labels that have been read are not read again, unless another `align` gives others.
        """
        changed = replace(self, **changes)
        if "labels" in vars(self) and changed.align == self.align:
            vars(changed)["labels"] = self.labels
        return changed

    def size(self, split: Split) -> int:
        """Returns the number of examples in a split."""
        return len(self.labels[split])

    @cached_property
    def labels(self) -> dict[Split, Labels]:
        """The aligned labels of each split in its fixed order, `(n, …)`; they are read once and checked.

        They are of the task's shape, int64 where it takes integers and float32 where it takes numbers. Before a
        tokenizer cuts words, their labels are filled up with `IGNORED` to one length.

        Raises:
            UserError: if the test split is empty, a split is infinite, batched or in another order each time, or a
                label is not of the task's kind or out of range.
        """
        return {split: self._checked(split, self._read_labels(split)) for split in SPLITS}

    def _read_labels(self, split: Split) -> Labels:
        aligned = self.align is not None
        return read_labels(getattr(self, split), self._label_spec, self._label, aligned, self._called(split))

    def _checked(self, split: Split, labels: Labels) -> Labels:
        if len(labels):
            self.task.check(labels, self.classes, self._called(split))
        elif split == "test":
            raise UserError(f"{self._called(split)} is empty; it needs at least one example")
        return labels

    def _called(self, split: Split) -> str:
        return f"{self.name}: the {split} split"

    @property
    def _weights(self) -> npt.NDArray[np.float32] | None:
        """The weight of each class in training, `(classes,)`; None if all weigh the same."""
        if not self.class_weights:
            return None
        labels = self.labels["train"]
        counts = np.bincount(labels[labels != IGNORED], minlength=len(self.classes))
        return np.float32(counts.sum() / (counts > 0).sum()) / np.maximum(counts, 1).astype(np.float32)

    @property
    def _label_spec(self) -> tf.TensorSpec | None:
        return self.task.spec(len(self.classes))

    def _label(self, features: Any, label: Any) -> tf.Tensor:
        """Returns the label of the decoded example, in the task's type, from what the splits hold."""
        spec = self._label_spec
        if self.align is not None:
            label = self.align(features, label)
        if spec is None or (label.dtype.is_integer and spec.dtype.is_integer):
            return label
        return tf.cast(label, spec.dtype)

    def _indexed(self, split: Split) -> tf.data.Dataset:
        indexed: tf.data.Dataset = getattr(self, split).enumerate()
        return indexed

    def _decoded(self, indexed: tf.data.Dataset) -> tf.data.Dataset:
        """Decodes the features in `(index within the split, (features, label))`, and aligns the label."""
        rows, decode = self._rows, self._decode_examples
        mapped = (indexed if rows is None else indexed.batch(_TOGETHER)).map(
            lambda index, example: (index, decode(example)), num_parallel_calls=2
        )
        return starting_fast(mapped if rows is None else mapped.unbatch())

    @property
    def _rows(self) -> Decode | None:
        """Decodes a batch of features; None if `decode` takes one example only, or they are sentences in words."""
        features = self.test.element_spec[0]
        stackable = isinstance(features, tf.TensorSpec) and not is_sentence(features)
        return getattr(self.decode, "rows", None) if stackable and self.align is None else None

    @cached_property
    def _decode_examples(self) -> Callable[[Any], Example]:
        """Decodes the features of `(features, label)`, and aligns the label; traced once for all splits and orders."""
        decode = self._rows or self.decode or (lambda features: features)
        function: Callable[[Any], Example] = tf.function(lambda example: (decode(example[0]), self._label(*example)))
        return function

    def _augmented(self, decoded: tf.data.Dataset, seeds: Sequence[int], epoch_size: int) -> tf.data.Dataset:
        augment = self.augment
        assert augment is not None
        epoch_seeds = tf.constant([seed % 2**31 for seed in seeds], tf.int32)

        def augment_one(position: tf.Tensor, item: tuple[tf.Tensor, Example]) -> tuple[tf.Tensor, Example]:
            index, example = item
            seed = tf.stack([epoch_seeds[position // epoch_size], tf.cast(position % epoch_size, tf.int32)])
            return index, augment(*example, seed)

        return decoded.enumerate().map(augment_one, num_parallel_calls=2)


def _concatenated(datasets: Sequence[tf.data.Dataset]) -> tf.data.Dataset:
    # Repeated calls of `Dataset.concatenate` would nest one level deeper per epoch.
    variants = tf.stack([tf.data.experimental.to_variant(dataset) for dataset in datasets])
    spec = datasets[0].element_spec
    return tf.data.Dataset.from_tensor_slices(variants).flat_map(
        lambda variant: tf.data.experimental.from_variant(variant, spec)
    )


def _batched(
    decoded: tf.data.Dataset,
    split: Split,
    size: int,
    targets: Targets | None,
    weights: npt.NDArray[np.float32] | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    def with_targets(index: tf.Tensor, example: Example) -> tuple[Any, ...]:
        features, labels = example
        batch = example if targets is None else (features, targets(split, features, labels, index))
        return batch if weights is None else (*batch, tf.gather(weights, tf.maximum(labels, 0)))

    return decoded.batch(size, drop_remainder=drop_remainder).map(with_targets).prefetch(2)
