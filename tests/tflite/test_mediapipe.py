"""MediaPipe Tasks, Google's client on phones, takes our files as they are: the same scores, the same embeddings."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.environments import python_of
from tests.missing import missing
from tests.models.pretrained.sentence_folders import NORMALIZE, pooling, sentence_folder
from tfcompress import Export, Quantize, compress
from tfcompress.commands.convert import convert_file
from tfcompress.commands.examples import tokens
from tfcompress.data.images import digits
from tfcompress.data.text import texts
from tfcompress.measure.interpreter import Runner, predict

pytestmark = pytest.mark.slow

FORMATS = Export(formats=("float32", "dynamic"))
ODD_TEXTS = ("thé horsé hère", "the 馬 here", "that\tdog\u0001 there", "horse-dog.", "🐎 one horse", "", "The DOG!")
LOAD = "import ctypes, mediapipe; ctypes.CDLL(mediapipe.__path__[0] + '/tasks/c/libmediapipe.so')"
CUT_OTHERWISE = {0, 2}
"""MediaPipe's tokenizer strips accents from lower-cased text, and takes control characters for parts of words.

keras-nlp's BertTokenizer, which we follow, keeps accents and drops control characters.
"""


@pytest.fixture(scope="session")
def client() -> Path:
    """The Python of an environment that has MediaPipe, which cannot share ours: it wants another absl-py."""
    python = python_of("mediapipe")
    loaded = subprocess.run([python, "-c", LOAD], capture_output=True, text=True, check=False)
    if loaded.returncode:
        missing(f"MediaPipe cannot be loaded: {loaded.stderr.splitlines()[-1]}")
    return python


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """300 digits as a camera gives them, uint8 (300, 8, 8, 3)."""
    test = digits().examples("test").take(300).as_numpy_iterator()
    return np.stack([np.round(image * 255).astype(np.uint8) for image, _ in test])


@pytest.fixture(scope="module")
def sentences(tiny_text) -> list[str]:
    """The odd texts, followed by 238 plain ones."""
    known = [text for split in ("train", "validation", "test") for text in texts(tiny_text, split)]
    return [*ODD_TEXTS, *known, *(f"{text}, {text}?" for text in known[:46])]


@pytest.fixture(scope="module")
def files(trained_weights, bert_weights, tiny_data, tiny_text, tmp_path_factory) -> dict[str, list[Path]]:
    """By MediaPipe's task, the files of a run of a ViT or a BERT, or of what embeds with their features.

    The last two of texts are of a folder of sentence-transformers.
    """
    from tests.tiny import embedder_of, scored, tiny_bert_of, tiny_vit_of

    images, texts = tiny_vit_of(trained_weights), tiny_bert_of(tiny_text, bert_weights)
    quantize = Quantize(fit={"epochs": 1, "batch_size": 32})
    found = {}
    for task, model, data, techniques in (
        ("ImageClassifier", images, tiny_data, [quantize]),
        ("TextClassifier", texts, tiny_text, [quantize]),
        ("ImageEmbedder", embedder_of(images), scored(tiny_data), []),
        ("TextEmbedder", embedder_of(texts), scored(tiny_text), []),
    ):
        folder = tmp_path_factory.mktemp(task)
        compress(model, data, techniques, folder, export=FORMATS)
        found[task] = sorted((folder / "tflite").glob("*.tflite"))
    folder = sentence_folder(tmp_path_factory.mktemp("sentences"), pooling("mean_tokens"), NORMALIZE)
    for stored_as in FORMATS.formats:
        found["TextEmbedder"].append(convert_file(folder, folder / f"{stored_as}.tflite", stored_as).path)
    return found


@pytest.fixture(scope="module")
def answers(client, files, images, sentences, tmp_path_factory) -> dict[str, list[dict]]:
    """The answers of MediaPipe for each file."""
    folder = tmp_path_factory.mktemp("answers")
    np.save(folder / "images.npy", images)
    inputs = {task: str(folder / "images.npy") if task.startswith("Image") else sentences for task in files}
    jobs = [
        {"model": str(path), "task": task, "inputs": inputs[task]} for task, paths in files.items() for path in paths
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("mediapipe_client.py")
    command = [client, script, folder / "jobs.json", folder / "answers.json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    given = iter(json.loads((folder / "answers.json").read_text()))
    return {task: [next(given) for _ in paths] for task, paths in files.items()}


def agree(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Returns for each example whether scores are the same to 1e-3, and the best one is, unless there is a tie."""
    top = np.sort(ours, axis=1)
    tie = top[:, -1] - top[:, -2] < 1e-3
    return (np.abs(ours - theirs).max(axis=1) < 1e-3) & (tie | (ours.argmax(axis=1) == theirs.argmax(axis=1)))


def test_an_image_classifier_gives_our_scores(files, images, answers, tiny_data):
    assert [path.stem for path in files["ImageClassifier"]] == [
        "00-base-dynamic",
        "00-base-float32",
        "01-quantize-int8",
    ]
    for path, answer in zip(files["ImageClassifier"], answers["ImageClassifier"], strict=True):
        assert agree(predict(path, images / np.float32(255)), np.array(answer["scores"])).all(), path
        assert answer["labels"] == list(tiny_data.classes)


def test_a_text_classifier_gives_our_scores(files, sentences, answers, tiny_text):
    rows = tiny_text.decode.encode(sentences)
    examples = [{name: values[i] for name, values in rows.items()} for i in range(len(sentences))]
    for path, answer in zip(files["TextClassifier"], answers["TextClassifier"], strict=True):
        same = agree(predict(path, examples), np.array(answer["scores"]))
        assert set(np.flatnonzero(~same)) <= CUT_OTHERWISE, [sentences[i] for i in np.flatnonzero(~same)]
        assert answer["labels"] == list(tiny_text.classes)


@pytest.mark.parametrize("task", ["ImageEmbedder", "TextEmbedder"])
def test_an_embedder_gives_our_embeddings(files, images, sentences, answers, task):
    assert len(files[task]) == (2 if task == "ImageEmbedder" else 4)
    for path, answer in zip(files[task], answers[task], strict=True):
        texts = tf.data.Dataset.from_tensor_slices(sentences)
        ours = predict(path, images / np.float32(255) if task == "ImageEmbedder" else tokens(path, Runner(path), texts))
        theirs = np.array(answer["embeddings"])
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        other = np.flatnonzero((ours * theirs).sum(axis=1) / lengths < 0.9999)
        assert set(other) <= (CUT_OTHERWISE if task == "TextEmbedder" else set()), (path, other)
        assert len(np.unique(theirs.round(4), axis=0)) > 5, path  # The folder knows few of the words.
        assert answer["head"] == "embedding"


def test_its_reader_finds_what_we_wrote(answers):
    tasks = {"Classifier": ("classification", "Classifies "), "Embedder": ("embedding", "Gives an embedding.")}
    for kind, inputs, normalization in (
        ("Image", ["image"], [[[0.0], [255.0]]]),
        ("Text", ["ids", "segment_ids", "mask"], []),
    ):
        for task, (name, begin) in tasks.items():
            for answer in answers[kind + task]:
                assert answer["metadata"]["identifier"]
                assert sorted(answer["metadata"]["inputs"]) == sorted(inputs)
                assert answer["metadata"]["normalization"] == normalization
                assert answer["metadata"]["description"].startswith(begin)
                assert answer["metadata"]["custom"] == {"tfcompress.task": name}


def test_it_needs_its_own_environment(client):
    """If this fails, MediaPipe has become installable beside tfmot, and the environment of its own can go."""
    version = "import absl, importlib.metadata as m; print(m.version('absl-py'))"
    theirs, ours = (subprocess.check_output([python, "-c", version], text=True) for python in (client, sys.executable))
    assert theirs.split(".")[0] != ours.split(".")[0]
