import json
import re

import pytest
import tensorflow as tf

from tfcompress.errors import UserError
from tfcompress.strategy import begin

WORKERS = ["localhost:20001", "localhost:20002"]


def config(cluster: object, index: int = 0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "TF_CONFIG is not set; set it to {"),
        ("worker 0", "is 'worker 0'; set it to {"),
        (json.dumps({"cluster": {"worker": WORKERS}}), "with another index for each worker"),
        (config({"worker": WORKERS}, 2), "names the task worker 2, but the cluster has worker 0, worker 1"),
        (config({"worker": []}), "names the task worker 0, but the cluster has no worker"),
        (config({"worker": WORKERS, "ps": WORKERS}), "has the jobs ps; the cluster takes chief and worker only"),
        (config({"worker": WORKERS[0]}), "has the addresses 'localhost:20001'; write a list of HOST:PORT"),
        (config({"worker": ["localhost"]}), "has the addresses ['localhost']; write a list of HOST:PORT"),
        (config({"worker": WORKERS[:1] * 2}), "has an address twice: localhost:20001, localhost:20001"),
    ],
)
def test_a_configuration_that_names_no_worker_is_refused(monkeypatch, given, said):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if given is not None:
        monkeypatch.setenv("TF_CONFIG", given)
    with pytest.raises(UserError, match=re.escape(said)):
        begin("multi_worker")


def test_workers_cannot_begin_once_tensorflow_has_been_used(monkeypatch):
    tf.zeros(1)
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}))
    with pytest.raises(UserError, match="has used TensorFlow before; in Python, call"):
        begin("multi_worker")
