"""Clusters the weights of a trained model without training, and runs the file beside the float one to compare them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.commands.calibration import calibration_examples, needs_tensorflow
from tfcompress.commands.pack import known_activations
from tfcompress.commands.scores import score_orders
from tfcompress.errors import UserError
from tfcompress.files import atomic_write, check_outputs, has_suffix
from tfcompress.measure.agreement import Difference, Outputs, compare_models
from tfcompress.measure.comparison import CALIBRATION, GIVEN, Examples, random_examples, token_mask
from tfcompress.measure.divergence import Mean, are_class_scores, mean_cosine, mean_divergence
from tfcompress.measure.interpreter import Example, Port, Runner, check_runs
from tfcompress.packed.layout import MAX_BITS, MIN_BITS, bits_for
from tfcompress.packed.options import Activations
from tfcompress.packed.packer import pack_counted
from tfcompress.post_training.clustering import Clustered, cluster
from tfcompress.post_training.floats import check_float, check_straight
from tfcompress.post_training.method import Settings
from tfcompress.progress import track
from tfcompress.tflite.attached import attach_files
from tfcompress.tflite.damage import reporting_damage
from tfcompress.tflite.reading import open_file
from tfcompress.tflite.signatures import complete
from tfcompress.tflite.writing import write_file

Choose = Callable[[Path, Sequence[Example]], Mapping[str, Settings]]
"""Returns the settings of each kernel for a float file and calibration examples."""

_NAMES = 3
"""The weights that were left for the same reason are named, up to so many."""


@dataclass(frozen=True)
class Likeness:
    """How far the outputs of the clustered file are from those of the float one, on the same examples.

    Attributes:
        difference: of all outputs, and of the highest class.
        divergence: Kullback-Leibler divergence of the class scores from the float file's, in nats; None without any.
        cosine: similarity of the embeddings to the float file's; None if the output is class scores or single numbers.
    """

    difference: Difference
    divergence: Mean | None
    cosine: Mean | None

    def __str__(self) -> str:
        text = str(self.difference)
        if self.divergence is not None:
            text += f"; KL {_mean(self.divergence, '.2g')}"
        if self.cosine is not None:
            text += f"; cosine {_mean(self.cosine, '.5f')}"
        return text


@dataclass(frozen=True)
class ClusteredFile:
    """What was written, and how it compares with the float file.

    Attributes:
        path: of the file.
        packed: whether it is a packed file; a stock one has as many bytes as before, until it is zipped.
        clusters: the most distinct values of a kernel.
        fewest: the same for the kernel that may have fewest, if a budget gave each kernel its own number.
        bits: of the index of each weight in a packed file, on average over the kernels' weights.
        kernels: the number of kernels that were clustered.
        bytes_before, bytes_after: of the float file and of this one.
        left: why other weights stayed float, by name.
        calibration: what the calibration examples were called; empty without them.
        feed: these examples, without a batch axis; none for k-means.
        likeness: on the calibration examples or else on random inputs; None where the file could not be run.
        not_run: the reason for that; empty otherwise.
    """

    path: Path
    packed: bool
    clusters: int
    fewest: int
    bits: float
    kernels: int
    bytes_before: int
    bytes_after: int
    left: dict[str, str]
    calibration: str
    feed: Sequence[Example] = field(repr=False)
    likeness: Likeness | None
    not_run: str

    @property
    def calibrated(self) -> int:
        """The number of calibration examples; 0 for k-means."""
        return len(self.feed)

    def __str__(self) -> str:
        kind = "packed" if self.packed else "stock"
        kernels = f"{self.kernels} kernel{'s' * (self.kernels > 1)}"
        how = (
            f"with errors compensated on {self.calibrated} examples of {self.calibration}"
            if self.calibrated
            else "by k-means, because there are no calibration data; with a few hundred unlabelled examples "
            "(--calibration) the outputs change less"
        )
        values = (
            f"at most {self.clusters} values ({bits_for(self.clusters)} bits a weight)"
            if self.fewest == self.clusters
            else f"at most {self.fewest} to {self.clusters} values ({self.bits:.1f} bits a weight on average)"
        )
        lines = [
            f"{self.path}: {kind}; {kernels} of {values}",
            f"{self.bytes_after:,} bytes instead of {self.bytes_before:,}, "
            f"{self.bytes_before / self.bytes_after:.2f} times fewer"
            if self.packed
            else f"{self.bytes_after:,} bytes, about as many as before ({self.bytes_before:,}) until they are zipped",
            f"clustered {how}",
            *_left(self.left),
            f"not run: {self.not_run}" if self.likeness is None else f"run on {self._examples()}: {self.likeness}",
        ]
        return "\n".join(lines)

    def _examples(self) -> str:
        assert self.likeness is not None
        return f"{self.likeness.difference.examples} {CALIBRATION if self.calibrated else 'random inputs'}"


def cluster_file(
    source: Any,
    output: Path,
    clusters: int | None = None,
    bits: int | None = None,
    calibration: str | Sequence[Example] | None = None,
    examples: int = 256,
    packed: bool = True,
    activations: str | None = None,
    allow_code: bool = False,
    choose: Choose | None = None,
    prepare: Callable[[Any], Path] | None = None,
) -> ClusteredFile:
    """Clusters the weights of a model without training; see `tfcompress.post_training.clustering.cluster`.

    Args:
        source: a float `.tflite` file, or anything else that `convert_file` takes.
        output: the `.tflite` file to write. An existing file is replaced once the new one has run; a source can be so
            only if it is a `.tflite` file.
        clusters: the most distinct values of a kernel, 2 to 256; 64 if `bits` is not given either.
        bits: the same in bits, 2 to 8: 2 ** bits values.
        calibration: unlabelled examples of what the model is fed with, as `convert_file` takes them; None clusters by
            k-means.
        examples: the largest number of calibration examples.
        packed: whether to write a packed file; otherwise a stock one, for any runtime.
        activations: the type that a packed file computes in, `float32` (the default) or `int8`.
        allow_code: whether to open files that can run code.
        choose: chooses the settings of each kernel in place of `clusters` and `bits`; it needs calibration examples.
        prepare: called with the source once the arguments are known to fit; what it returns is clustered instead.

    Raises:
        UserError: the arguments do not fit together; the model is no float model, or has nothing to cluster; or the
            calibration data do not fit it.
    """
    # A stock file is small once it is zipped, and products of scales hardly compress.
    scales = None if packed else False
    settings: Settings | Mapping[str, Settings] = Settings(_clusters(clusters, bits), scales)
    computing = _activations(activations, packed)
    if examples < 1:
        raise UserError(f"{examples} examples were asked for; at least one is needed")
    check_outputs([output], [source] if isinstance(source, (Path, str)) and not has_suffix(source, ".tflite") else [])
    if prepare is not None:
        source = prepare(source)
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "model.tflite"
        name = _write_reference(source, reference, allow_code)
        bytes_before = (Path(source) if _is_tflite_file(source) else reference).stat().st_size
        _check(reference, name, calibration is not None)
        feeds = None if calibration is None else calibration_examples(calibration, examples, name, reference)
        feed = None if feeds is None else next(iter(feeds.values()))
        if choose is not None:
            assert feed is not None, "only calibration examples tell what a kernel needs"
            settings = choose(reference, feed)
        made = Path(folder) / "clustered.tflite"  # Not beside the output, where it would stay if LiteRT crashed.
        try:
            kernels, left = _write_clustered(made, cluster(open_file(reference), settings, feed), packed, computing)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        likeness, not_run = None, ""
        try:
            likeness = _compared(reference, made, feed)
        except UserError as error:
            not_run = str(error).replace(str(made), str(output)).replace(str(reference), name)
        if likeness is not None and not likeness.difference.finite:
            raise UserError(f"{name}: the outputs of the clustered file are not all finite numbers; use more clusters")
        with atomic_write(output) as beside:
            shutil.copyfile(made, beside)
        bytes_after = made.stat().st_size
    bits_each, sizes = zip(*kernels.values(), strict=True)
    most = {(settings[one] if isinstance(settings, Mapping) else settings).clusters for one in kernels}
    return ClusteredFile(
        path=output,
        packed=packed,
        clusters=max(most),
        fewest=min(most),
        bits=float(np.average(bits_each, weights=sizes)),
        kernels=len(kernels),
        bytes_before=bytes_before,
        bytes_after=bytes_after,
        left=left,
        calibration="" if feed is None else calibration if isinstance(calibration, str) else GIVEN,
        feed=feed or (),
        likeness=likeness,
        not_run=not_run,
    )


def _clusters(clusters: int | None, bits: int | None) -> int:
    if bits is None:
        return Settings().clusters if clusters is None else clusters
    if clusters is not None:
        raise UserError(f"{clusters} clusters and {bits} bits were asked for; give one of the two")
    if not MIN_BITS <= bits <= MAX_BITS:
        raise UserError(f"{bits} bits were asked for; from {MIN_BITS} to {MAX_BITS} are possible")
    return 1 << bits


def _activations(asked: str | None, packed: bool) -> Activations | None:
    if asked is not None and not packed:
        raise UserError(f"activations {asked!r} are of a packed file; leave them out, or write a packed file")
    return known_activations(asked)


def imports_tensorflow(source: Any, calibration: str | Sequence[Example] | None) -> bool:
    """Returns whether `cluster_file` needs TensorFlow for a source and its calibration data."""
    return not _is_tflite_file(source) or needs_tensorflow(calibration)


def _is_tflite_file(source: Any) -> bool:
    """Returns whether a source is a `.tflite` file, which is clustered without TensorFlow."""
    if not has_suffix(source, ".tflite"):
        return False
    try:
        with Path(source).open("rb") as file:
            return file.read(8)[4:] == b"TFL3"
    except OSError:
        return False  # Opening it as a model tells what is wrong with it.


def _write_reference(source: Any, reference: Path, allow_code: bool) -> str:
    """Makes the float file of a source, or a link to it, and returns what messages call the model."""
    if _is_tflite_file(source):
        model = open_file(Path(source))
        if complete(model, str(source)):
            write_file(model, reference)
            attach_files(model.content, reference)
        else:
            reference.symlink_to(Path(source).resolve())
        return str(source)
    from tfcompress.commands.convert import open_model, unquantized_file  # Imports TensorFlow.

    opened = open_model(source, allow_code)
    if opened.quantized:
        raise UserError(
            f"{opened.name} was prepared for int8 by quantization-aware training; cluster the model before it, or add "
            "the technique cluster to the recipe, before quantize"
        )
    reference.write_bytes(unquantized_file(opened, "float32", True))
    return opened.name


def _check(reference: Path, name: str, calibrated: bool) -> None:
    """Finds out, before examples are read, whether a file can be clustered."""
    try:
        model = open_file(reference)
        with reporting_damage("the file"):
            check_float(model)
            if calibrated:
                check_straight(model)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    check_runs(reference, name)


def _write_clustered(
    path: Path, found: Clustered, packed: bool, computing: Activations | None
) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Writes a file; returns the bits of an index and the number of weights by kernel, and why weights stay float.

    The model is given up by then: its weights, a stock file of them and what runs both take as much memory each.
    """
    kernels = {name: (bits_for(len(book.centroids)), book.indices.size) for name, book in found.codebooks.items()}
    if not packed:
        found.save(path)
        return kernels, found.skipped
    try:
        made = pack_counted(found.model, computing)
    except UserError as error:
        raise UserError(f"{str(error).partition(';')[0]}; choose --stock for a file that is not packed") from error
    path.write_bytes(made.content)
    more = {one.name: f"clustered, but not packed: {one.reason}" for one in made.skipped}
    return kernels, found.skipped | {name: more[name] for name in more if name in kernels}


def _compared(before: Path, after: Path, examples: Sequence[Example] | None) -> Likeness:
    """Runs two files on the same examples, by default on random inputs.

    One runs after the other: LiteRT takes twice the bytes of a float file.
    """
    feed: Examples = random_examples({"": before}, {"": Runner(before)}) if examples is None else examples
    found, port = _run(after, feed, "running the clustered file")
    expected, port_before = _run(before, feed, "running the float file")
    kept, kept_before = iter(found), iter(expected)
    difference = compare_models(lambda _: next(kept), lambda _: next(kept_before), feed, port.name)
    scores, wanted = (
        np.stack([outputs[one.name] for outputs in rows]) for rows, one in ((found, port), (expected, port_before))
    )
    if are_class_scores([(port_before, wanted), (port, scores)], bool(score_orders([before]))):
        return Likeness(difference, mean_divergence(scores, wanted), None)
    return Likeness(difference, None, mean_cosine(scores, wanted, token_mask(feed, wanted.shape[1:-1])))


def _run(file: Path, feed: Examples, what: str) -> tuple[list[Outputs], Port]:
    """Returns all outputs of a file, and which of them holds the scores."""
    runner = Runner(file)
    return [runner.run_all(example) for example in track(feed, what, len(feed))], runner.scores


def _left(left: Mapping[str, str]) -> list[str]:
    """Returns a line for each reason why weights were left."""
    names: dict[str, list[str]] = {}
    for name, reason in left.items():
        names.setdefault(reason, []).append(name)
    return [
        f"left float: {', '.join(some[:_NAMES])}{f' and {len(some) - _NAMES} more' * (len(some) > _NAMES)}: {reason}"
        for reason, some in names.items()
    ]


def _mean(mean: Mean, form: str) -> str:
    interval = "" if mean.low is None or mean.high is None else f" ({mean.low:{form}} to {mean.high:{form}})"
    return f"{mean.value:{form}}{interval}"
