from pathlib import Path

import pytest

from tfcompress.errors import UserError
from tfcompress.files import (
    atomic_write,
    check_outputs,
    has_suffix,
    parse_vocabulary,
    read_json,
    write_json,
    writing_to,
)


def test_a_file_is_written_completely_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file.txt"

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(path.parent.iterdir()) == []
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_suffix_may_have_capitals():
    assert all(has_suffix(path, ".npz") for path in ("a.npz", "a.NPZ", Path("b/a.Npz")))
    assert not any(has_suffix(path, ".npz") for path in ("a.npz.txt", "npz", None, 3))


def test_json_is_read_as_it_was_written(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, None]}


def test_an_unwritable_path_is_named(below_a_file):
    with pytest.raises(UserError, match=r"cannot write .*; choose another folder or free some space"):
        write_json(below_a_file / "a.json", {})


def test_an_error_without_a_message_is_named_by_its_type(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*: OSError; choose"), writing_to(tmp_path):
        raise OSError


def test_a_vocabulary_may_have_windows_line_ends():
    assert parse_vocabulary("[PAD]\r\né\r\n".encode(), "vocab.txt") == ("[PAD]", "é")


def test_outputs_are_checked_and_nothing_is_left(tmp_path, below_a_file):
    (tmp_path / "link.json").symlink_to(tmp_path / "model.tflite")
    before = sorted(tmp_path.rglob("*"))
    check_outputs([tmp_path / "new/folder/a.json", None], [tmp_path / "b.json", None, "name"])
    for outputs, inputs, message in (
        ([tmp_path], [], "is a folder; name the file to write"),
        ([below_a_file / "a.json"], [], "cannot write .*: Not a directory; choose another folder"),
        ([tmp_path / "x" / ".." / "a.json"], [str(tmp_path / "a.json")], "would replace another file"),
        ([tmp_path / "a", tmp_path / "a"], [], "would replace another file that this command reads or writes; give"),
        ([tmp_path / "model.tflite"], [tmp_path / "link.json"], "would replace another file"),
    ):
        with pytest.raises(UserError, match=message):
            check_outputs(outputs, inputs)
    assert sorted(tmp_path.rglob("*")) == before
