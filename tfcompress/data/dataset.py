"""Dataset: three fixed splits of labelled examples, and the order in which training sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.errors import UserError

Split = Literal["train", "validation", "test"]
Decode = Callable[[tf.Tensor], Any]
Augment = Callable[[Any, tf.Tensor, tf.Tensor], tuple[Any, tf.Tensor]]


@dataclass(frozen=True)
class Dataset:
    """Labelled examples for classification in three fixed splits.

    Attributes:
        name: how reports call it.
        train, validation, test: unbatched, finite `tf.data` sets of `(features, label)`, label a scalar integer. The
            test split is read for final figures only.
        classes: names of the classes; label `i` means `classes[i]`.
        decode: makes what the model takes from the features of one example, after shuffling; for instance a path to
            pixels. By default the features go in as they are.
        augment: `(features, label, seed) -> (features, label)` on decoded training examples; `seed` is an int32
            tensor of shape (2,) for `tf.image.stateless_*` and `tf.random.stateless_*`, so that runs can be repeated.
        shuffle_buffer: training examples held for shuffling; more than there are means a perfect shuffle.
    """

    name: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    classes: tuple[str, ...]
    decode: Decode | None = None
    augment: Augment | None = None
    shuffle_buffer: int = 65_536

    @classmethod
    def from_arrays(
        cls,
        name: str,
        classes: Sequence[str],
        train: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        validation: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        test: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        **options: Any,
    ) -> Dataset:
        """Makes a data set of `(features (n, …), labels (n,))` pairs of arrays."""
        for features, labels in (train, validation, test):
            if len(features) != len(labels):
                raise UserError(f"{name}: {len(features)} examples but {len(labels)} labels")
            if not np.issubdtype(labels.dtype, np.integer):
                raise UserError(f"{name}: labels are {labels.dtype}; they must be integers")
        sets = [tf.data.Dataset.from_tensor_slices((x, y.astype(np.int32))) for x, y in (train, validation, test)]
        return cls(name, sets[0], sets[1], sets[2], tuple(classes), **options)

    def examples(self, split: Split) -> tf.data.Dataset:
        """Returns the decoded examples of a split in their fixed order, unbatched."""
        raw: tf.data.Dataset = getattr(self, split)
        return self._decoded(raw)

    def batches(self, split: Split, batch_size: int) -> tf.data.Dataset:
        """Returns the decoded examples of a split in their fixed order, in batches."""
        return self.examples(split).batch(batch_size).prefetch(2)

    def stream(self, batch_size: int, seed: int, first_epoch: int, epochs: int) -> tf.data.Dataset:
        """Returns the training batches of epochs `first_epoch` to `epochs - 1`, one after the other.

        The order within an epoch depends on `seed` and the epoch's number alone, so that a run that starts in the
        middle sees what an uninterrupted one would. Every epoch has `steps_per_epoch` whole batches.
        """
        size = self.size("train")
        batch_size = min(batch_size, size)

        def epoch_batches(epoch: int) -> tf.data.Dataset:
            epoch_seed = seed * 1_000_003 + epoch
            buffer = min(size, self.shuffle_buffer)
            decoded = self._decoded(self.train.shuffle(buffer, seed=epoch_seed, reshuffle_each_iteration=False))
            if self.augment is not None:
                decoded = self._augmented(decoded, epoch_seed)
            return decoded.batch(batch_size, drop_remainder=True).prefetch(2)

        # A generator, because tf.data takes no seed that changes within a pipeline.
        return tf.data.Dataset.from_generator(
            lambda: chain.from_iterable(map(epoch_batches, range(first_epoch, epochs))),
            output_signature=epoch_batches(first_epoch).element_spec,
        )

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of whole batches in the training split, at least one."""
        return max(1, self.size("train") // batch_size)

    def describe(self) -> dict[str, Any]:
        """Returns name, classes, sizes and a digest of the labels: what tells this data set from another."""
        labels = self.labels
        digest = hashlib.sha256(b"".join(labels[split].tobytes() for split in labels)).hexdigest()
        sizes = {str(split): len(found) for split, found in labels.items()}
        return {"name": self.name, "classes": list(self.classes), "examples": sizes, "labels_sha256": digest}

    def size(self, split: Split) -> int:
        """Returns the number of examples of a split."""
        return len(self.labels[split])

    @cached_property
    def labels(self) -> dict[Split, npt.NDArray[np.int64]]:
        """The labels of all splits in their fixed order, int64 `(n,)`, read once and checked.

        Raises:
            UserError: for a split that is empty or endless, or a label that is no class.
        """
        splits: tuple[Split, ...] = ("train", "validation", "test")
        return {split: self._checked_labels(split) for split in splits}

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
            raise UserError(f"{self.name}: the {split} split never ends; bound it with .take(n)")
        only_labels = raw.map(lambda _, label: tf.cast(label, tf.int64)).batch(4096)
        labels, again = (np.concatenate([np.zeros(0, np.int64), *only_labels.as_numpy_iterator()]) for _ in range(2))
        if not np.array_equal(labels, again):
            raise UserError(
                f"{self.name}: the {split} split comes in another order each time, so answers could not be paired with "
                "labels; use shuffle(reshuffle_each_iteration=False), or leave shuffling to tfcompress"
            )
        if not len(labels):
            raise UserError(f"{self.name}: the {split} split is empty; every split needs examples")
        low, high, classes = int(labels.min()), int(labels.max()), len(self.classes)
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise UserError(
                f"{self.name}: label {wrong} in the {split} split, but there are {classes} classes; labels go from 0 "
                f"to {classes - 1}"
            )
        return labels

    def _decoded(self, raw: tf.data.Dataset) -> tf.data.Dataset:
        if self.decode is None:
            return raw
        decode = self.decode
        return raw.map(lambda features, label: (decode(features), label), num_parallel_calls=2)

    def _augmented(self, decoded: tf.data.Dataset, epoch_seed: int) -> tf.data.Dataset:
        augment = self.augment
        assert augment is not None

        def one(index: tf.Tensor, example: tuple[Any, tf.Tensor]) -> tuple[Any, tf.Tensor]:
            return augment(*example, tf.stack([tf.constant(epoch_seed % 2**31), tf.cast(index, tf.int32)]))

        return decoded.enumerate().map(one, num_parallel_calls=2)
