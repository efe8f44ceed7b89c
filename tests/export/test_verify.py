from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.export.verify import verify
from tfcompress.packed.packer import pack
from tfcompress.traits import BrokenTraitError, KernelTraits, kernels, measure_model


@pytest.mark.parametrize("stage", ["prune", "cluster", "quantize"])
def test_every_kernel_is_found_with_its_traits(compressed, stage):
    model, traits = compressed[stage]
    stored_as = "int8" if stage == "quantize" else "float32"
    found = {tensor.layer: tensor for tensor in verify(convert(model, stored_as), model, traits, stored_as)}
    assert set(found) == set(kernels(model))
    for tensor in found.values():
        assert tensor.sparsity >= 0.49
        assert tensor.distinct <= (16 if stage != "prune" else 10_000)
    if stage == "quantize":
        assert {name for name, tensor in found.items() if tensor.format == "float32"} == {"head", "block_0_mlp1"}


@pytest.mark.parametrize("stored_as", ["float16", "dynamic"])
def test_clusters_and_zeros_outlast_other_formats(compressed, stored_as):
    model, traits = compressed["cluster"]
    for tensor in verify(convert(model, stored_as), model, traits, stored_as):
        assert tensor.distinct <= 16
        assert tensor.sparsity >= 0.49


def test_a_kernel_that_changed_is_missed(tiny_vit):
    content = convert(tiny_vit, "float32")
    kernel = tiny_vit.get_layer("block_0_mlp1").kernel
    kernel.assign(kernel.numpy()[:, ::-1])
    with pytest.raises(UserError, match="block_0_mlp1: no weight tensor in the float32 file holds this kernel"):
        verify(content, tiny_vit, {"block_0_mlp1": KernelTraits(clusters=256)}, "float32")


@pytest.mark.parametrize("stored_as", ["float32", "dynamic"])
def test_a_tensor_of_zeros_is_no_other_kernel(tiny_vit, stored_as):
    for name in ("block_0_query", "block_0_mlp1"):
        kernel = tiny_vit.get_layer(name).kernel
        kernel.assign(tf.zeros_like(kernel))
    found = {tensor.layer: tensor for tensor in verify(convert(tiny_vit, stored_as), tiny_vit, {}, stored_as)}
    assert {name for name, tensor in found.items() if tensor.sparsity == 1} == {"block_0_query", "block_0_mlp1"}
    assert set(found) == set(kernels(tiny_vit))


def test_a_broken_trait_is_named(compressed):
    model, traits = compressed["cluster"]
    content = convert(model, "float32")
    stricter = {name: replace(kernel, clusters=4) for name, kernel in traits.items()}
    with pytest.raises(
        BrokenTraitError, match=r"\(patch_embedding\): \d+ distinct values, but at most 4 were promised"
    ):
        verify(content, model, stricter, "float32")


def test_float_weights_in_a_quantized_file_are_named(compressed):
    model, traits = compressed["quantize"]
    content = convert(model, "int8")
    with pytest.raises(BrokenTraitError, match=r"\(head\): stored as float32 instead of int8"):
        verify(content, model, {**traits, "head": replace(traits["head"], quantized=True)}, "int8")


def test_per_channel_scales_still_hold_the_kernel(tiny_vit):
    found = verify(convert(tiny_vit, "dynamic", per_channel=True), tiny_vit, measure_model(tiny_vit), "dynamic")
    assert len(found) == 8
    assert {tensor.format for tensor in found} == {"int8", "float32"}


@pytest.mark.parametrize(
    ("stored_as", "formats"),
    [
        ("float32", {"token_embedding": "float32", "segment_embedding": "float32"}),
        ("float16", {"token_embedding": "float16", "segment_embedding": "float16"}),
        ("dynamic", {"token_embedding": "int8", "segment_embedding": "float32"}),  # That is too small.
    ],
)
def test_tables_are_found_in_every_format(tiny_bert, stored_as, formats):
    found = verify(convert(tiny_bert, stored_as), tiny_bert, measure_model(tiny_bert), stored_as)
    assert {tensor.layer for tensor in found} == set(kernels(tiny_bert))
    tables = {tensor.layer: tensor for tensor in found if tensor.table}
    assert {name: table.format for name, table in tables.items()} == formats
    rows, width = tables["token_embedding"].shape
    assert (rows, width) == kernels(tiny_bert)["token_embedding"].shape
    size = {"float32": 4, "float16": 2, "int8": 1}[formats["token_embedding"]]
    assert tables["token_embedding"].bytes == rows * width * size


def test_a_table_that_changed_is_missed(tiny_bert):
    content = convert(tiny_bert, "float32")
    table = tiny_bert.get_layer("token_embedding").embeddings
    table.assign(table.numpy()[::-1])
    with pytest.raises(UserError, match="token_embedding: no weight tensor in the float32 file holds this kernel"):
        verify(content, tiny_bert, {"token_embedding": KernelTraits(clusters=256)}, "float32")


@pytest.mark.parametrize(("stored_as", "quantized"), [("float32", False), ("dynamic", True)])
def test_a_convolution_is_found_in_a_packed_file(stored_as, quantized):
    rng = np.random.default_rng(0)
    model = tf_keras.Sequential([tf_keras.layers.Conv2D(32, 4, 4, input_shape=(8, 8, 3))])
    kernel = rng.choice(np.array([-0.5, 0, 0, 0.25, 1], np.float32), (4, 4, 3, 32))
    kernel[0, 0, 0] = 1  # so that all outputs have the same scale
    model.layers[0].set_weights([kernel, np.zeros(32)])
    promised = KernelTraits(4, float((kernel == 0).mean()), quantized=quantized)
    content = pack(convert(model, stored_as), allow_larger=True)
    (found,) = verify(content, model, {model.layers[0].name: promised}, stored_as)
    assert (found.shape, found.distinct) == ((32, 48), 4)
