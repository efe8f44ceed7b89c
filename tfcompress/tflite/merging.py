"""Several `.tflite` files in one, each with a signature and a graph of its own, and equal constants stored once."""

from __future__ import annotations

from collections.abc import Mapping

from tfcompress.errors import UserError
from tfcompress.tflite.attached import with_attached_files
from tfcompress.tflite.graph import Content
from tfcompress.tflite.ordering import order_by_use
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import state_runtime
from tfcompress.tflite.writing import ALIGNMENT, write


def merge(files: Mapping[str, Content]) -> bytes:
    """Returns a file with the graph of each of several files. Metadata are those of the first.

    Args:
        files: the content of files with one graph and one signature each, by the names that the signatures get. A
            runtime that does not ask for a signature runs the first.

    Raises:
        UserError: a file has several graphs or signatures, or is not a valid `.tflite` file.
    """
    models = {name: read(content, name) for name, content in files.items()}
    for name, model in models.items():
        if len(model.graphs) != 1 or len(model.signatures) != 1:
            raise UserError(
                f"{name} has {len(model.graphs)} graphs and {len(model.signatures)} signatures; only a file with one "
                "of each, without control flow, can be merged with others"
            )
        model.signatures[0].name = name
    merged, *others = models.values()
    for model in others:
        merged.graphs += model.graphs
        merged.signatures += model.signatures
    order_by_use(merged)
    state_runtime(merged, at_least_as_before=True)
    return write(merged, ALIGNMENT)


def first_graph(content: Content) -> bytes:
    """Returns a file with the first graph of another one, the signatures of that, and all metadata.

    A file with one graph is returned as it is.

    Raises:
        UserError: it is not a valid `.tflite` file.
    """
    model = read(content)
    if len(model.graphs) == 1:
        return bytes(content)
    del model.graphs[1:]
    model.signatures = [signature for signature in model.signatures if signature.graph is model.graphs[0]]
    order_by_use(model)
    return with_attached_files(model.content, write(model, ALIGNMENT))
