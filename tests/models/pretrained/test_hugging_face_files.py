import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

from tfcompress.errors import UserError
from tfcompress.models.pretrained.hugging_face_files import Files, read_object, read_tensors

TENSORS = {
    "one.weight": np.arange(-3, 3, dtype=np.float32).reshape(2, 3) / 4,
    "one.bias": np.float32([0.5, -65504]),
    "two.weight": np.float32([[8]]),
}


def write(path, kinds):
    """Writes `TENSORS` by hand, each as the kind that `kinds` gives it."""
    header, data = {}, b""
    for name, kind in kinds.items():
        array = TENSORS[name]
        if kind == "BF16":
            content = (array.view("<u4") >> 16).astype("<u2").tobytes()
        else:
            content = array.astype({"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "i1"}[kind]).tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(folder):
    return read_tensors(Files.of_folder(folder), "BertModel")


@pytest.mark.parametrize("kind", ["BF16", "F16", "F32", "F64"])
def test_every_kind_of_real_number_becomes_float32(tmp_path, kind):
    kinds = dict.fromkeys(TENSORS, kind)
    if kind == "BF16":
        kinds["one.bias"] = "F16"  # -65504 has more digits than a BF16
    write(tmp_path / "model.safetensors", kinds)
    found = read(tmp_path)
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def shards(folder):
    """Writes `TENSORS` as two shards and returns the index, which is not written."""
    files = {name: f"model-0000{2 - (name == 'one.weight')}-of-00002.safetensors" for name in TENSORS}
    for file in set(files.values()):
        save_file({name: TENSORS[name] for name in files if files[name] == file}, folder / file)
    return {"metadata": {"total_size": 1}, "weight_map": files}


@pytest.mark.parametrize("indexed", [True, False])
def test_shards_are_read_together(tmp_path, indexed):
    index = shards(tmp_path)
    if indexed:
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read(tmp_path).keys() == TENSORS.keys()
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no model-00002-of-00002\.safetensors, which model.* names; download"):
        read(tmp_path)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": []}'])
def test_an_index_without_files_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UserError, match=r"index\.json of .* names no files in its weight_map"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "pytorch_model.bin",
            r"has pytorch_model\.bin but no model\.safetensors.*python -c .*import BertModel as M; M\.",
        ),
        ("pytorch_model.bin.index.json", r"has pytorch_model\.bin\.index\.json but no model\.safetensors"),
        ("tf_model.h5", "from_tf=True"),
        ("adapter_config.json", "holds an adapter of PEFT, .* merge_and_unload"),
        ("readme.md", r"has no model\.safetensors; name a folder"),
    ],
)
def test_weights_in_another_format_are_told_with_what_to_do(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_damaged_and_quantized_weights_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, dict.fromkeys(TENSORS, "F32"))
    whole = path.read_bytes()
    for content, message in (
        (whole[:-2], r"model\.safetensors of .* cannot be read: .*; download the checkpoint again"),
        (whole[: len(whole) - 4] + b"\0\0\x80\x7f", "two.weight has values that are not finite numbers"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "only a pointer of Git LFS; .*git lfs pull"),
        (b"", "cannot be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read(tmp_path)
    write(path, dict.fromkeys(TENSORS, "F32") | {"one.weight": "I8"})
    with pytest.raises(UserError, match=r"holds one\.weight as I8, so it was quantized; accepted are BF16, F16"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"[1]", "holds a list instead of an object"), (b"\xff", "not valid")]
)
def test_json_that_is_no_object_is_refused(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_object(Files.of_folder(tmp_path), "config.json")
