"""What an app does with our files, in Python: run by test_mediapipe.py in an environment that has MediaPipe.

    python mediapipe_client.py JOBS ANSWERS

JOBS is JSON, `[{"model": path, "task": one of TASKS, "inputs": …}]`: the inputs are texts, or the path of an .npy with
images, bytes (n, height, width, 3). ANSWERS gets a dictionary for each: the name of the output as `head`; of a
classifier `scores` and `labels` by the place of the output, of an embedder `embeddings`; and the file's metadata as
MediaPipe's own reader gives them.
"""

import json
import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
from mediapipe.tasks.metadata import schema_py_generated as tflite
from mediapipe.tasks.python import BaseOptions, text, vision

TASKS = {
    "ImageClassifier": (vision.ImageClassifier, vision.ImageClassifierOptions),
    "ImageEmbedder": (vision.ImageEmbedder, vision.ImageEmbedderOptions),
    "TextClassifier": (text.TextClassifier, text.TextClassifierOptions),
    "TextEmbedder": (text.TextEmbedder, text.TextEmbedderOptions),
}


def answer(job: dict) -> dict:
    task, options = TASKS[job["task"]]
    inputs = job["inputs"]
    if isinstance(inputs, str):
        inputs = [mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(image)) for image in np.load(inputs)]
    with task.create_from_options(options(base_options=BaseOptions(model_asset_path=job["model"]))) as client:
        found = classified(client, inputs) if hasattr(client, "classify") else embedded(client, inputs)
    return {**found, "metadata": metadata(Path(job["model"]).read_bytes())}


def classified(client, inputs: list) -> dict:
    heads = [client.classify(item).classifications[0] for item in inputs]
    rows = [sorted(head.categories, key=lambda category: category.index) for head in heads]
    return {
        "scores": [[category.score for category in row] for row in rows],
        "labels": [category.category_name for category in rows[0]],
        "head": heads[0].head_name,
    }


def embedded(client, inputs: list) -> dict:
    heads = [client.embed(item).embeddings[0] for item in inputs]
    return {"embeddings": [np.asarray(head.embedding).tolist() for head in heads], "head": heads[0].head_name}


def metadata(content: bytes) -> dict:
    model = tflite.Model.GetRootAs(content, 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    (entry,) = (entry for entry in entries if entry.Name() == b"TFLITE_METADATA")
    packed = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
    found = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(packed, 0))
    inputs = found.subgraphMetadata[0].inputTensorMetadata
    units = [unit for tensor in inputs for unit in tensor.processUnits or []]
    return {
        "identifier": schema.ModelMetadata.ModelMetadataBufferHasIdentifier(packed, 0),
        "name": found.name.decode(),
        "description": found.description.decode(),
        "custom": {
            entry.name.decode(): bytes(entry.data).decode() for entry in found.subgraphMetadata[0].customMetadata or []
        },
        "minimum": found.minParserVersion.decode(),
        "inputs": [tensor.name.decode() for tensor in inputs],
        "normalization": [[list(map(float, unit.options.mean)), list(map(float, unit.options.std))] for unit in units],
    }


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([answer(job) for job in jobs]))
