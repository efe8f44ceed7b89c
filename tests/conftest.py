"""What tests share. TensorFlow is imported where it is used only: many files do without, and it takes five seconds."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TFCOMPRESS_NO_REHEARSAL", "1")  # It takes longer than most runs here.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # Two test processes share two cores.

import gc
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tfcompress import runtime
from tfcompress.garbage import importing

from .native import has_runtime

if TYPE_CHECKING:
    import tf_keras

    from tfcompress.data.dataset import Dataset

    from .real_files import Compressed

Once = Callable[[str, Callable[[], Any]], Any]

gc.set_threshold(50_000, 50, 50)  # Building models makes many objects, and looking for cycles so often finds nothing.


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Imports what the tests need without looking for garbage in it, then or later."""
    with importing():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process ends alone with one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def forget_graphs() -> Iterator[None]:
    """Frees what Keras and TensorFlow keep of a module's models: gigabytes over the whole run, which slow all down."""
    yield
    if "tf_keras" in sys.modules:
        sys.modules["tf_keras"].backend.clear_session()
    gc.collect()


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    """Digits, but 128 / 64 / 64 of them."""
    from .tiny import few_digits

    return few_digits()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Calls a function, unless another process of these tests has: then it returns what that one got."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def call(name: str, function: Callable[[], Any]) -> Any:
        kept = folder / f"{name}.pickle"
        if not kept.is_file():
            beside = folder / f"{name}.{os.getpid()}"
            beside.write_bytes(pickle.dumps(function()))
            beside.replace(kept)
        return pickle.loads(kept.read_bytes())

    return call


@pytest.fixture(scope="session")
def trained_weights(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory, once: Once) -> list[np.ndarray]:
    """The weights of a tiny ViT that has learned something."""
    from .tiny import trained_vit

    return once("vit", lambda: trained_vit(tiny_data, tmp_path_factory.mktemp("base")))


@pytest.fixture
def tiny_vit(trained_weights: list[np.ndarray]) -> tf_keras.Model:
    """A trained ViT of one block: eight Dense kernels."""
    from .tiny import tiny_vit_of

    return tiny_vit_of(trained_weights)


@pytest.fixture
def images(tiny_data: Dataset) -> np.ndarray:
    """The 64 test images, (64, 8, 8, 3) float32."""
    return np.stack([image for image, _ in tiny_data.examples("test").as_numpy_iterator()])


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A path that nothing can be written to, not even by root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "work"


@pytest.fixture(scope="session")
def library() -> str:
    """The packed runtime's library."""
    if not has_runtime():
        pytest.skip("no packed runtime: there was no C++ compiler when tfcompress was installed")
    return str(runtime.library())


@pytest.fixture(scope="session")
def tiny_text() -> Dataset:
    """Sentences on animals, fruit and tools, 96 / 48 / 48; the tokenizer knows words that occur in none of them."""
    from .tiny import sentences

    return sentences()


@pytest.fixture(scope="session")
def bert_weights(tiny_text: Dataset, tmp_path_factory: pytest.TempPathFactory, once: Once) -> list[np.ndarray]:
    """The weights of a tiny BERT that has learned something."""
    from .tiny import trained_bert

    return once("bert", lambda: trained_bert(tiny_text, tmp_path_factory.mktemp("bert")))


@pytest.fixture
def tiny_bert(tiny_text: Dataset, bert_weights: list[np.ndarray]) -> tf_keras.Model:
    """A trained BERT of two blocks with two heads each."""
    from .tiny import tiny_bert_of

    return tiny_bert_of(tiny_text, bert_weights)


@pytest.fixture(scope="session")
def compressed(
    tiny_data: Dataset, trained_weights: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Compressed:
    """The tiny ViT and its traits after prune, cluster and quantize, which leaves head and block_0_mlp1 float."""
    from .real_files import compress_vit

    return compress_vit(tiny_data, trained_weights, tmp_path_factory.mktemp("compressed"))


@pytest.fixture(scope="session")
def real_files(request: pytest.FixtureRequest, trained_weights: list[np.ndarray], once: Once) -> dict[str, bytes]:
    """Real files by name; see `write_files`."""
    from .real_files import write_files

    return once("files", lambda: write_files(trained_weights, request.getfixturevalue("compressed")))
