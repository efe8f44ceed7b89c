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

from tfcompress.errors import UserError
from tfcompress.pixel_range import PixelRange

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# What a model reads: one tensor (images), or one per input name (texts).
Features: TypeAlias = tf.Tensor | Mapping[str, tf.Tensor]
FeatureArrays: TypeAlias = npt.NDArray[np.generic] | Mapping[str, npt.NDArray[np.generic]]
Example: TypeAlias = tuple[Features, tf.Tensor]

Decode = Callable[[tf.Tensor], Features]
Augment = Callable[[Features, tf.Tensor, tf.Tensor], Example]
Targets = Callable[[Split, Features, tf.Tensor, tf.Tensor], tf.Tensor | tuple[tf.Tensor, ...]]
"""Makes the training targets of a batch from `(split, features, labels, indices)`.

`indices`, int64 `(batch,)`, are the positions of the examples within their split. Without such a function, the
targets are the labels.
"""


@dataclass(frozen=True)
class Dataset:
    """Labelled examples for classification in three fixed splits.

    Attributes:
        name: the name that reports use.
        train, validation, test: unbatched, finite `tf.data` data sets of `(features, label)`, where the label is a
            scalar integer. The test split is used only for the final results.
        classes: names of the classes; label `i` means `classes[i]`.
        decode: converts the features of one example to the model's input, for instance a path to pixels. It is
            applied after shuffling. By default the features are the model's input.
        augment: `(features, label, seed) -> (features, label)`, applied to decoded training examples. `seed` is an
            int32 tensor of shape (2,) for `tf.image.stateless_*` and `tf.random.stateless_*`, which makes runs
            repeatable.
        shuffle_buffer: number of training examples in the shuffle buffer; the shuffle is uniform if the whole
            training split fits.
        pixel_range: the values of black and white in decoded pictures; only needed if they are neither 0 and 1 nor 0
            and 255.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    classes: tuple[str, ...]
    decode: Decode | None = None
    augment: Augment | None = None
    shuffle_buffer: int = 65_536
    pixel_range: PixelRange | None = None

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

        Features are an array `(n, …)` or a dict of such arrays by input name; labels are an integer array `(n,)`.

        Args:
            name: see `Dataset`.
            classes: see `Dataset`.
            train: features and labels.
            validation: features and labels.
            test: features and labels.
            **options: further attributes of `Dataset`, such as `decode` and `augment`.

        Raises:
            UserError: if features and labels differ in length, or the labels are not integers.
        """
        for features, labels in (train, validation, test):
            for array in tf.nest.flatten(features):
                if len(array) != len(labels):
                    raise UserError(
                        f"{name}: {len(array)} examples but {len(labels)} labels; pass one label per example"
                    )
            if not np.issubdtype(labels.dtype, np.integer):
                raise UserError(f"{name}: the labels are {labels.dtype}; pass integers, the indices of the classes")
        sets = [tf.data.Dataset.from_tensor_slices((x, y.astype(np.int32))) for x, y in (train, validation, test)]
        return cls(name, sets[0], sets[1], sets[2], tuple(classes), **options)

    def examples(self, split: Split) -> tf.data.Dataset:
        """Returns the decoded examples of a split in their fixed order, unbatched."""
        return self._decoded(self._indexed(split)).map(lambda _, example: example)

    def batches(self, split: Split, batch_size: int, targets: Targets | None = None) -> tf.data.Dataset:
        """Returns the decoded examples of a split in their fixed order, in batches; see `Targets`."""
        return _batched(self._decoded(self._indexed(split)), split, batch_size, targets)

    def sample(self, examples: int, seed: int) -> Any:
        """Returns the decoded features of training examples drawn with `seed`, without augmentation.

        Args:
            examples: how many; the whole training split if it has fewer.
            seed: of the draw.

        Returns:
            An array `(examples, …)`, or a dict of such arrays by input name.
        """
        plain = replace(self, augment=None)
        features, _ = next(plain.stream(examples, seed, 0, 1).as_numpy_iterator())
        return features

    def stream(
        self, batch_size: int, seed: int, first_epoch: int, epochs: int, targets: Targets | None = None
    ) -> tf.data.Dataset:
        """Returns the training batches of epochs `first_epoch` to `epochs - 1` in sequence; see `Targets`.

        The order within an epoch depends only on `seed` and the number of the epoch, so a resumed run sees the same
        batches as an uninterrupted one. Every epoch has `steps_per_epoch` full batches.
        """
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
        batches = _batched(decoded, "train", batch_size, targets, drop_remainder=True)
        return batches.take((epochs - first_epoch) * steps)  # empty if all epochs are already done

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of full batches in the training split, at least one."""
        return max(1, self.size("train") // batch_size)

    def describe(self) -> dict[str, Any]:
        """Returns what identifies this data set.

        That is its name, classes, split sizes, a SHA-256 digest of the labels, and the range of its pixels if given.
        """
        labels = self.labels
        digest = hashlib.sha256(b"".join(labels[split].tobytes() for split in labels)).hexdigest()
        sizes = {str(split): len(found) for split, found in labels.items()}
        described = {"name": self.name, "classes": list(self.classes), "examples": sizes, "labels_sha256": digest}
        return described if self.pixel_range is None else described | {"pixel_range": list(self.pixel_range)}

    def size(self, split: Split) -> int:
        """Returns the number of examples in a split."""
        return len(self.labels[split])

    @cached_property
    def labels(self) -> dict[Split, npt.NDArray[np.int64]]:
        """The labels of each split in its fixed order, int64 `(n,)`; they are read once and checked.

        Raises:
            UserError: if a split is empty, infinite, batched or in another order each time, or a label is out of
                range.
        """
        return {split: self._checked_labels(split) for split in SPLITS}

    def _checked_labels(self, split: Split) -> npt.NDArray[np.int64]:
        raw: tf.data.Dataset = getattr(self, split)
        spec = raw.element_spec
        label_spec = spec[1] if isinstance(spec, tuple) and len(spec) == 2 else None
        if not (isinstance(label_spec, tf.TensorSpec) and label_spec.dtype.is_integer and label_spec.shape.rank == 0):
            raise UserError(
                f"{self.name}: the {split} split yields {spec}; pass unbatched (features, label) pairs with a scalar "
                "integer label"
            )
        if raw.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise UserError(f"{self.name}: the {split} split is infinite; limit it with .take(n)")
        only_labels = raw.map(lambda _, label: tf.cast(label, tf.int64)).batch(4096)
        labels, again = (np.concatenate([np.zeros(0, np.int64), *only_labels.as_numpy_iterator()]) for _ in range(2))
        if not np.array_equal(labels, again):
            raise UserError(
                f"{self.name}: the order of the {split} split changes with each iteration, so predictions cannot be "
                "matched to labels; use shuffle(reshuffle_each_iteration=False), or leave shuffling to tfcompress"
            )
        if not len(labels):
            raise UserError(f"{self.name}: the {split} split is empty; every split needs at least one example")
        low, high, classes = int(labels.min()), int(labels.max()), len(self.classes)
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise UserError(
                f"{self.name}: the {split} split has the label {wrong}, but there are {classes} classes; labels must "
                f"be 0 to {classes - 1}"
            )
        return labels

    def _indexed(self, split: Split) -> tf.data.Dataset:
        indexed: tf.data.Dataset = getattr(self, split).enumerate()
        return indexed

    def _decoded(self, indexed: tf.data.Dataset) -> tf.data.Dataset:
        """Decodes the features in `(index within the split, (features, label))`."""
        if self.decode is None:
            return indexed
        decode = self.decode
        return indexed.map(lambda index, example: (index, (decode(example[0]), example[1])), num_parallel_calls=2)

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
    decoded: tf.data.Dataset, split: Split, size: int, targets: Targets | None, drop_remainder: bool = False
) -> tf.data.Dataset:
    def with_targets(index: tf.Tensor, example: Example) -> tuple[Features, tf.Tensor | tuple[tf.Tensor, ...]]:
        return example if targets is None else (example[0], targets(split, *example, index))

    return decoded.batch(size, drop_remainder=drop_remainder).map(with_targets).prefetch(2)
