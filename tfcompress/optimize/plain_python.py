"""Building a model from another one without AutoGraph, which takes a third of the time and which few layers need."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import cluster_utils

P = ParamSpec("P")
Build = Callable[Concatenate[tf_keras.Model, P], tf_keras.Model]

_WITHOUT_BRANCHES = ("tf_keras", "tfcompress", "tensorflow_model_optimization")
"""Packages whose layers never branch on a tensor in Python, so that no call has to be rewritten."""


def _in_plain_python(build: Build[P]) -> Build[P]:
    """Returns a function that builds a model as `build` does, without AutoGraph unless a layer is the user's own."""
    plain = tf.autograph.experimental.do_not_convert(build)

    @functools.wraps(build)
    def built(model: tf_keras.Model, /, *args: P.args, **kwargs: P.kwargs) -> tf_keras.Model:
        layers = model._flatten_layers(include_self=False)
        known = all(type(layer).__module__.partition(".")[0] in _WITHOUT_BRANCHES for layer in layers)
        return (plain if known else build)(model, *args, **kwargs)

    return built


clone_model = _in_plain_python(tf_keras.models.clone_model)
quantize_apply = _in_plain_python(tfmot.quantization.keras.quantize_apply)
strip_clustering = _in_plain_python(tfmot.clustering.keras.strip_clustering)
strip_clustering_cqat = _in_plain_python(cluster_utils.strip_clustering_cqat)
strip_pruning = _in_plain_python(tfmot.sparsity.keras.strip_pruning)
