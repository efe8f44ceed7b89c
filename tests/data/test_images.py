import gzip
import struct

import numpy as np
import pytest

from tfcompress.data import images
from tfcompress.errors import UserError


def pixels(data, split):
    return np.stack([image for image, _ in data.examples(split).as_numpy_iterator()])


def test_digits_have_fixed_disjoint_splits_in_rgb():
    data = images.digits()
    assert [data.size(split) for split in ("train", "validation", "test")] == [1147, 200, 450]
    shown = [pixels(data, split) for split in ("train", "validation", "test")]
    assert shown[2].shape == (450, 8, 8, 3)
    assert shown[0].min() == 0
    assert shown[0].max() == 1
    seen = {image.tobytes() for image in shown[0]}
    assert len(seen & {image.tobytes() for image in shown[2]}) == 0
    np.testing.assert_array_equal(shown[2], pixels(images.digits(), "test"))


def write_idx(path, array, magic=None):
    magic = 0x0800 + array.ndim if magic is None else magic
    content = struct.pack(f">{1 + array.ndim}i", magic, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def fashion_folder(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, n, suffix in (("train", 24, ".gz"), ("t10k", 6, "")):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte{suffix}", rng.integers(0, 256, (n, 28, 28)))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte{suffix}", rng.integers(0, 10, n))
    return tmp_path


def test_fashion_mnist_is_read_from_a_folder(fashion_folder):
    data = images.fashion_mnist(fashion_folder)
    assert [data.size(split) for split in ("train", "validation", "test")] == [22, 2, 6]
    assert pixels(data, "test").shape == (6, 28, 28, 3)
    assert len(data.classes) == 10


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "is not a complete IDX file"),
        (lambda path: path.write_bytes(b"garbage"), "is not a complete IDX file"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:40] + b"xxxx" + path.read_bytes()[44:]),
            "not a complete IDX",
        ),
        (lambda path: write_idx(path, np.zeros((2, 28, 28)), magic=7), "its magic number is 0x7 instead of 0x803"),
        (lambda path: write_idx(path, np.zeros((2, 28, 28))), "2 train images but 24 labels"),
        (lambda path: path.unlink(), "has no train-images-idx3-ubyte .*dataset-fashion-mnist"),
    ],
)
def test_a_broken_idx_file_is_named(fashion_folder, spoil, message):
    spoil(fashion_folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(UserError, match=message):
        images.fashion_mnist(fashion_folder)
