"""Files that no converter of ours wrote, and what NumPy makes of them."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.packed.graphs import Model

SIZE, CHANNELS, WIDTH, CLASSES = 8, 24, 48, 10


def small_cnn() -> bytes:
    """A convolution whose windows overlap, one by one, one that cuts patches, and two dense layers."""
    model = Model(1, SIZE, SIZE, 3)
    y = convolution(model, 0, (1, SIZE, SIZE, CHANNELS), window=3, stride=1, padding=schema.Padding.SAME)
    y = convolution(model, y, (1, SIZE, SIZE, WIDTH), window=1, stride=1)
    y = convolution(model, y, (1, SIZE // 4, SIZE // 4, WIDTH), window=4, stride=4)
    y = dense(model, y, (4, WIDTH), fused=1)
    y = model.add("MEAN", [y, model.constant([0], np.int32)], (1, WIDTH), own=schema.ReducerOptionsT(keepDims=True))
    return model.file(dense(model, y, (1, CLASSES)))


def convolution(model: Model, x: int, shape, window: int, stride: int, padding=schema.Padding.VALID) -> int:
    kernel = (shape[-1], window, window, model.tensors[x].shape[-1])
    own = schema.Conv2DOptionsT(padding, stride, stride, 0, 1, 1)
    constants = random(model, kernel), model.constant(model.rng.normal(size=shape[-1]) * 0.1)
    return model.add("CONV_2D", (x, *constants), shape, own=own)


def dense(model: Model, x: int, shape, kernel: int | None = None, fused: int = 0) -> int:
    """Appends a dense layer with random weights, or those of a constant."""
    kernel = random(model, (shape[-1], model.tensors[x].shape[-1])) if kernel is None else kernel
    return model.dense(x, shape, weights=kernel, fused=fused)


def random(model: Model, shape) -> int:
    return model.constant(model.rng.normal(0, np.prod(shape[1:]) ** -0.5, shape))


def pictures(count: int, *shape: int) -> list[np.ndarray]:
    """Random pictures whose pixels are correlated, as those of real ones are; by default for `small_cnn`."""
    rng = np.random.default_rng(0)
    shape = shape or (SIZE, SIZE, 3)
    mix = rng.normal(size=(8, int(np.prod(shape))))
    some = rng.normal(size=(count, 8)) @ mix + 0.1 * rng.normal(size=(count, mix.shape[1])) + 0.5
    return list(some.reshape(count, *shape).astype(np.float32))


def run(content: bytes, *examples) -> np.ndarray:
    """The first output for each example: arrays for the only input, or by input name."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    signatures = interpreter.get_signature_list()
    found = []
    for example in examples:
        if signatures:
            runner = interpreter.get_signature_runner(next(iter(signatures)))
            given = example if isinstance(example, dict) else dict.fromkeys(runner.get_input_details(), example)
            found.append(next(iter(runner(**{name: values[None] for name, values in given.items()}).values())))
        else:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.asarray(example)[None])
            interpreter.invoke()
            found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(found)


def divergence(expected: np.ndarray, found: np.ndarray) -> float:
    """The mean Kullback-Leibler divergence of probabilities from expected ones, in nats."""
    return float((expected * (np.log(expected) - np.log(found))).sum(1).mean())
