"""What an app does with our files, in Python: run by test_mediapipe.py in an environment that has MediaPipe.

    python mediapipe_client.py JOBS ANSWERS

JOBS is JSON, `[{"model": path, "images": path of an .npy with bytes (n, height, width, 3)} or {…, "texts": [text]}]`.
ANSWERS gets a dictionary for each: `scores` and `labels` by the place of the output, the name of the output as `head`,
and the file's metadata as MediaPipe's own reader gives them.
"""

import json
import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
from mediapipe.tasks.metadata import schema_py_generated as tflite
from mediapipe.tasks.python import BaseOptions, text, vision


def answer(job: dict) -> dict:
    if "images" in job:
        task, options = vision.ImageClassifier, vision.ImageClassifierOptions
        inputs = [mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(image)) for image in np.load(job["images"])]
    else:
        task, options = text.TextClassifier, text.TextClassifierOptions
        inputs = job["texts"]
    with task.create_from_options(options(base_options=BaseOptions(model_asset_path=job["model"]))) as classifier:
        heads = [classifier.classify(item).classifications[0] for item in inputs]
    rows = [sorted(head.categories, key=lambda category: category.index) for head in heads]
    return {
        "scores": [[category.score for category in row] for row in rows],
        "labels": [category.category_name for category in rows[0]],
        "head": heads[0].head_name,
        "metadata": metadata(Path(job["model"]).read_bytes()),
    }


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
        "minimum": found.minParserVersion.decode(),
        "inputs": [tensor.name.decode() for tensor in inputs],
        "normalization": [[list(map(float, unit.options.mean)), list(map(float, unit.options.std))] for unit in units],
    }


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([answer(job) for job in jobs]))
