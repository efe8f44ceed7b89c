"""Takes repeated blocks out of a transformer, so that what is tried on all kinds of its blocks takes less time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.anatomy import Anatomy, run_node

_KEPT = 2
"""How many equal blocks stay: two, because a block may behave differently after one of its kind."""


def without_repetition(model: tf_keras.Model, mark: Callable[[str], object]) -> tf_keras.Model:
    """Returns a copy in which at most two of several equal blocks are left, with their names and weights.

    Blocks are equal if their layers have the same settings, shapes and marks. A model whose blocks `Anatomy` does not
    recognise is returned as it is.

    Args:
        model: a functional model.
        mark: tells layers apart, by name, that are equal but treated differently.
    """
    try:
        anatomy = Anatomy(model)
        blocks = _blocks(anatomy)
    except UserError:
        return model
    seen: Counter[str] = Counter()
    dropped: dict[str, _Block] = {}
    for block in blocks:
        likeness = _likeness(anatomy, block, mark)
        seen[likeness] += 1
        if seen[likeness] > _KEPT:
            dropped |= dict.fromkeys(block.layers, block)
    return _bypassed(anatomy, dropped) if dropped else model


@dataclass(frozen=True)
class _Block:
    """The layers of a block by name, in order; the first of them reads the output of `source`."""

    source: str
    layers: list[str]


def _blocks(anatomy: Anatomy) -> list[_Block]:
    """Returns what lies on the residual stream from each attention to the next, if nothing else reads what is inside.

    Raises:
        UserError: see `Anatomy.writers`.
    """
    writers = [writer.dense for writer in anatomy.writers]
    if not all(part.output in writers for part in anatomy.attentions):
        return []
    starts = [writers.index(part.output) for part in anatomy.attentions]
    blocks = []
    for start, end in zip(starts, [*starts[1:], len(writers)], strict=True):
        source, last = anatomy.stream[start], anatomy.stream[end]
        inside = {source}
        for node in anatomy.nodes:
            if any(before.name in inside for before in anatomy.sources(node.layer)):
                inside.add(node.layer.name)
        needed = {last}
        for node in reversed(anatomy.nodes):
            if node.layer.name in needed and node.layer.name != source:
                needed |= {before.name for before in anatomy.sources(node.layer)}
        layers = [node.layer.name for node in anatomy.nodes if node.layer.name in (inside & needed) - {source}]
        readers = {r.name for name in layers[:-1] for r in anatomy.readers(anatomy.model.get_layer(name))}
        single = all(not isinstance(anatomy.model.get_layer(name).output, (list, tuple)) for name in layers)
        if layers and layers[-1] == last and readers <= set(layers) and single:
            blocks.append(_Block(source, layers))
    return blocks


def _likeness(anatomy: Anatomy, block: _Block, mark: Callable[[str], object]) -> str:
    """Returns a text that is the same for equal blocks."""
    places = {name: str(number) for number, name in enumerate([block.source, *block.layers])}
    found = []
    for name in block.layers:
        layer = anatomy.model.get_layer(name)
        settings = {key: value for key, value in layer.get_config().items() if key != "name"}
        sources = [places.get(source.name, source.name) for source in anatomy.sources(layer)]
        shapes = [tuple(weight.shape) for weight in layer.weights]
        found.append((type(layer).__name__, settings, sources, shapes, layer.trainable, mark(name)))
    return repr(found)


def _bypassed(anatomy: Anatomy, dropped: dict[str, _Block]) -> tf_keras.Model:
    """Returns a copy in which what read the end of a dropped block reads what the block read."""
    model = anatomy.model
    inputs = [tf_keras.Input(x.shape[1:], dtype=x.dtype, name=x.node.layer.name) for x in model.inputs]
    values = {x.node.layer.name: x for x in inputs}
    kept = []
    for node in anatomy.nodes:
        name = node.layer.name
        if name in dropped:
            values[name] = values[dropped[name].source] if name == dropped[name].layers[-1] else None
            continue
        layer = type(node.layer).from_config(node.layer.get_config())
        values[name] = run_node(node, values, layer)
        kept.append((node.layer, layer))
    outputs = [values[output.node.layer.name] for output in model.outputs]
    copy = tf_keras.Model(inputs, outputs, name=model.name)
    for layer, layer_copy in kept:
        layer_copy.set_weights(layer.get_weights())
    return copy
