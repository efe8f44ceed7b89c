"""Dataset: three fixed splits of labelled examples, and the order in which training sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.errors import UserError

Split = Literal["train", "validation", "test"]
Decode = Callable[[tf.Tensor], Any]
Augment = Callable[[Any, tf.Tensor, tf.Tensor], tuple[Any, tf.Tensor]]
Targets = Callable[[Split, Any, tf.Tensor, tf.Tensor], Any]
"""`(split, features, labels, indices)` of a batch to what the model is compared with; `indices`, int64 `(batch,)`, are
the examples' places in the split."""


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
        train: tuple[Any, npt.NDArray[Any]],
        validation: tuple[Any, npt.NDArray[Any]],
        test: tuple[Any, npt.NDArray[Any]],
        **options: Any,
    ) -> Dataset:
        """Makes a data set of pairs: features, an array `(n, …)` or a dict of such, and labels `(n,)`.

        Args:
            name: see `Dataset`.
            classes: see `Dataset`.
            train: features and integer labels.
            validation: features and integer labels.
            test: features and integer labels.
            **options: any other attributes of `Dataset`, such as `decode` and `augment`.

        Raises:
            UserError: features and labels of different lengths, or labels that are no integers.
        """
        for features, labels in (train, validation, test):
            for array in tf.nest.flatten(features):
                if len(array) != len(labels):
                    raise UserError(f"{name}: {len(array)} examples but {len(labels)} labels")
            if not np.issubdtype(labels.dtype, np.integer):
                raise UserError(f"{name}: labels are {labels.dtype}; they must be integers")
        sets = [tf.data.Dataset.from_tensor_slices((x, y.astype(np.int32))) for x, y in (train, validation, test)]
        return cls(name, sets[0], sets[1], sets[2], tuple(classes), **options)

    def examples(self, split: Split) -> tf.data.Dataset:
        """Returns the decoded examples of a split in their fixed order, unbatched."""
        return self._decoded(self._indexed(split)).map(lambda _, example: example)

    def batches(self, split: Split, batch_size: int, targets: Targets | None = None) -> tf.data.Dataset:
        """Returns the decoded examples of a split in their fixed order, in batches; see `Targets`."""
        return _batched(self._decoded(self._indexed(split)), split, batch_size, targets)

    def sample(self, examples: int, seed: int) -> Any:
        """Returns the features of some training examples, drawn by `seed` and not augmented: an array or a dict."""
        plain = replace(self, augment=None)
        features, _ = next(plain.stream(examples, seed, 0, 1).as_numpy_iterator())
        return features

    def stream(
        self, batch_size: int, seed: int, first_epoch: int, epochs: int, targets: Targets | None = None
    ) -> tf.data.Dataset:
        """Returns the training batches of epochs `first_epoch` to `epochs - 1`, one after the other; see `Targets`.

        The order within an epoch depends on `seed` and the epoch's number alone, so that a run that starts in the
        middle sees what an uninterrupted one would. Every epoch has `steps_per_epoch` whole batches.
        """
        size, steps = self.size("train"), self.steps_per_epoch(batch_size)
        batch_size = min(batch_size, size)
        kept = steps * batch_size
        indexed, buffer = self._indexed("train"), min(size, self.shuffle_buffer)
        seeds = [seed * 1_000_003 + epoch for epoch in range(first_epoch, max(epochs, first_epoch + 1))]
        shuffled = [
            indexed.shuffle(buffer, seed=epoch_seed, reshuffle_each_iteration=False).take(kept) for epoch_seed in seeds
        ]
        decoded = self._decoded(_one_after_another(shuffled))
        if self.augment is not None:
            decoded = self._augmented(decoded, seeds, kept)
        batches = _batched(decoded, "train", batch_size, targets, drop_remainder=True)
        return batches.take((epochs - first_epoch) * steps)  # none when a finished training goes on

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

    def _indexed(self, split: Split) -> tf.data.Dataset:
        indexed: tf.data.Dataset = getattr(self, split).enumerate()
        return indexed

    def _decoded(self, indexed: tf.data.Dataset) -> tf.data.Dataset:
        """Takes and yields `(index in the split, (features, label))`."""
        if self.decode is None:
            return indexed
        decode = self.decode
        return indexed.map(lambda index, example: (index, (decode(example[0]), example[1])), num_parallel_calls=2)

    def _augmented(self, decoded: tf.data.Dataset, seeds: Sequence[int], epoch_size: int) -> tf.data.Dataset:
        augment = self.augment
        assert augment is not None
        epoch_seeds = tf.constant([seed % 2**31 for seed in seeds], tf.int32)

        def one(place: tf.Tensor, item: tuple[tf.Tensor, tuple[Any, tf.Tensor]]) -> Any:
            index, example = item
            seed = tf.stack([epoch_seeds[place // epoch_size], tf.cast(place % epoch_size, tf.int32)])
            return index, augment(*example, seed)

        return decoded.enumerate().map(one, num_parallel_calls=2)


def _one_after_another(sets: Sequence[tf.data.Dataset]) -> tf.data.Dataset:
    # One by one with `concatenate`, the last of many would be nested as deep.
    variants = tf.stack([tf.data.experimental.to_variant(one) for one in sets])
    spec = sets[0].element_spec
    return tf.data.Dataset.from_tensor_slices(variants).flat_map(
        lambda variant: tf.data.experimental.from_variant(variant, spec)
    )


def _batched(
    decoded: tf.data.Dataset, split: Split, size: int, targets: Targets | None, drop_remainder: bool = False
) -> tf.data.Dataset:
    def compared(index: tf.Tensor, example: tuple[Any, tf.Tensor]) -> Any:
        return example if targets is None else (example[0], targets(split, *example, index))

    return decoded.batch(size, drop_remainder=drop_remainder).map(compared).prefetch(2)
