import pytest

from tfcompress.errors import UserError
from tfcompress.files import atomic_write, parse_vocabulary, read_json, write_json, writing_to


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
