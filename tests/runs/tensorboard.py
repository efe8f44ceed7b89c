"""What TensorBoard finds in a folder of logs."""

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray


def logged(folder) -> dict[str, list[tuple[int, np.ndarray]]]:
    """All that TensorBoard finds: step and value by tag."""
    found = EventAccumulator(str(folder), {"tensors": 0}).Reload()
    return {
        tag: [(event.step, make_ndarray(event.tensor_proto)) for event in found.Tensors(tag)]
        for tag in found.Tags()["tensors"]
    }
