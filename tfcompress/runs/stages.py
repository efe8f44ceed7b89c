"""The finished stages of a run, kept in its working folder so that a later call resumes after the last of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tf_keras
from pydantic import TypeAdapter

from tfcompress.data.dataset import Dataset
from tfcompress.data.text import AnyTokenizer
from tfcompress.files import atomic_write, read_json, reading_from, write_json
from tfcompress.models.lookup import Lookup
from tfcompress.models.outputs import Outputs
from tfcompress.optimize.quantization import load_scope
from tfcompress.runs.logs import write_logs
from tfcompress.training import delete_checkpoint
from tfcompress.traits import KernelTraits, Traits

BASE = "base"
"""Name of the first stage, the model that the techniques start from."""

History = list[dict[str, float]]
"""The figures of each epoch, see `tfcompress.training.fit`."""

_TRAITS = TypeAdapter(dict[str, KernelTraits])


@dataclass(frozen=True)
class Stage:
    """A finished stage.

    Attributes:
        name: `base`, or the name of its technique.
        folder: its folder below `stages`, `NN-name`.
        model: a plain model, or a quantized one after `quantize`.
        data: the data as the model takes them.
        traits: what has been checked to hold for its kernels.
        history: one row per epoch of its training.
        outputs: what the model gives.
        names: what files call its outputs.
    """

    name: str
    folder: str
    model: tf_keras.Model
    data: Dataset
    traits: Traits
    history: History
    outputs: Outputs
    names: tuple[str, ...]


def folder_name(name: str, number: int) -> str:
    """Returns what the folder of a stage is called; `number` counts the stages from 0."""
    return f"{number:02}-{name}"


class StageStore:
    """The folder `stages` of a working folder.

    A stage lies in `stages/NN-name`: its model in `model.h5`; its traits, its history, what its model gives and what a
    file calls that in `stage.json`, which is written last and so marks the stage as finished; its tokenizer in
    `vocab.txt` and `tokenizer.json`, or what looks words up in `lookup.json`, if it has one; and the checkpoint of its
    training until it is finished. What TensorBoard shows of it is in `logs/NN-name`.
    """

    def __init__(self, workdir: Path, outputs: Outputs, names: tuple[str, ...]) -> None:
        """Opens the folder of a run whose models give `outputs`, and whose files call them `names`."""
        self._workdir, self._outputs, self._names = workdir, outputs, names

    def folder(self, name: str, number: int) -> Path:
        """Returns the folder of a stage."""
        return self._workdir / "stages" / folder_name(name, number)

    def model_file(self, name: str, number: int) -> Path:
        """Returns the file of a stage's model."""
        return self.folder(name, number) / "model.h5"

    def has(self, name: str, number: int) -> bool:
        """Returns whether a stage is finished."""
        return (self.folder(name, number) / "stage.json").is_file()

    def load(self, name: str, number: int, data: Dataset) -> Stage:
        """Returns a finished stage.

        Args:
            name: of the stage.
            number: of the stage, from 0.
            data: the data as its model takes them, which are not stored.

        Raises:
            UserError: one of its files is gone or damaged.
        """
        folder, file = self.folder(name, number), self.model_file(name, number)
        advice = f"delete {folder}, and the same command makes the stage again"
        with reading_from(folder / "stage.json", advice):
            kept = read_json(folder / "stage.json")
            traits, history = _TRAITS.validate_python(kept["traits"]), kept["history"]
        with reading_from(file, advice), load_scope():
            model = tf_keras.models.load_model(file, compile=False)
        return Stage(name, folder.name, model, data, traits, history, self._outputs, self._names)

    def save(
        self, name: str, number: int, model: tf_keras.Model, data: Dataset, traits: Traits, history: History
    ) -> Stage:
        """Keeps a finished stage, removes its checkpoint, and returns it.

        Raises:
            OSError: the disk is full.
        """
        folder = self.folder(name, number)
        if isinstance(data.decode, Lookup | AnyTokenizer):
            data.decode.save(folder)
        save_model(model, self.model_file(name, number))
        write_logs(self._workdir / "logs" / folder.name, history, model)
        record = {
            "traits": _dumped(traits),
            "history": history,
            "outputs": self._outputs,
            "answers": self._names,
        }
        write_json(folder / "stage.json", record)
        delete_checkpoint(folder)
        return Stage(name, folder.name, model, data, traits, history, self._outputs, self._names)


def save_model(model: tf_keras.Model, path: Path) -> None:
    """Writes a plain or quantized model to an `.h5` file.

    Raises:
        UserError: it cannot be written.
    """
    with atomic_write(path) as beside, warnings.catch_warnings():
        # Keras recommends .keras, which cannot hold a model that is trained for quantization.
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file", UserWarning)
        try:
            model.save(beside, include_optimizer=False)
        except RuntimeError as error:  # h5py raises it when the disk is full.
            raise OSError(str(error)) from error


def _dumped(traits: Traits) -> Mapping[str, object]:
    dumped: Mapping[str, object] = _TRAITS.dump_python(dict(traits), mode="json")
    return dumped
