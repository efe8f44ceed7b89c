"""Measures how much more memory a run takes with a large folder of pictures, or with large TFRecords, than with few.

The pictures are noise. Each run is a process of its own, whose peak counts, with those of the processes that it starts.

python -m benchmarks.big_input --gigabytes=2
python -m benchmarks.big_input --gigabytes=2 --records
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import app, flags
from PIL import Image

_GIGABYTES = flags.DEFINE_float("gigabytes", 2, "Of all pictures together.", lower_bound=0.01)
_RECORDS = flags.DEFINE_boolean("records", False, "Put the pictures into TFRecords.")
_FOLDER = flags.DEFINE_string("folder", "out/big_input", "Where the pictures are put, and deleted from.")

_SIDE, _DIFFERENT, _SHARDS = 256, 32, 8
_FEW = 200
"""The pictures of the run that is compared with."""

_RECIPE = """
data: {{name: {name}, path: {path}, image_size: 32}}
model: {{preset: vit_digits}}
training: {{epochs: 1, batch_size: 32}}
techniques: [{{cluster: {{fit: {{epochs: 1, batch_size: 32}}}}}}]
export: {{formats: [float32]}}
"""

# What the largest of a process and those that it started took.
_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main(_: Sequence[str]) -> None:
    """Prints the peak of both runs, and the difference."""
    pictures = list(_pictures())
    many = round(1e9 * _GIGABYTES.value / np.mean([len(one) for one in pictures]))
    few, most = (_peak(pictures, count) for count in (_FEW, many))
    kind = "TFRecords" if _RECORDS.value else "a folder"
    print(f"{many:,} pictures, {_GIGABYTES.value:g} GB, in {kind}: {most / 1e6:.0f} MB at most;")
    print(f"{_FEW} pictures: {few / 1e6:.0f} MB; difference {(most - few) / 1e6:.0f} MB")


def _pictures() -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for _ in range(_DIFFERENT):
        content = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)).save(content, "JPEG", quality=90)
        yield content.getvalue()


def _peak(pictures: Sequence[bytes], count: int) -> int:
    """Returns the peak bytes of a run with so many pictures."""
    folder = Path(_FOLDER.value)
    shutil.rmtree(folder, ignore_errors=True)
    (_write_records if _RECORDS.value else _write_folder)(folder, pictures, count)
    with tempfile.TemporaryDirectory() as scratch:
        recipe = Path(scratch) / "big.yaml"
        name = "tfrecords" if _RECORDS.value else "image_folder"
        recipe.write_text(_RECIPE.format(name=name, path=folder))
        command = [sys.executable, "-m", "tfcompress", "run", str(recipe), "--workdir", f"{scratch}/run"]
        measured = subprocess.check_output([sys.executable, "-c", _MEASURED, *command], text=True)
    shutil.rmtree(folder)
    return int(measured.splitlines()[-1])


def _write_folder(folder: Path, pictures: Sequence[bytes], count: int) -> None:
    for number in range(count):
        path = folder / f"class_{number % 2}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[number % len(pictures)])


def _write_records(folder: Path, pictures: Sequence[bytes], count: int) -> None:
    import tensorflow as tf

    folder.mkdir(parents=True)
    for shard in range(_SHARDS):
        with tf.io.TFRecordWriter(str(folder / f"train-{shard:05}-of-{_SHARDS:05}")) as writer:
            for number in range(shard, count, _SHARDS):
                image = tf.train.BytesList(value=[pictures[number % len(pictures)]])
                label = tf.train.Int64List(value=[number // _SHARDS % 2])
                features = {
                    "image": tf.train.Feature(bytes_list=image),
                    "label": tf.train.Feature(int64_list=label),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


if __name__ == "__main__":
    app.run(main)
