import pytest

from tfcompress.errors import UserError
from tfcompress.files import parse_vocabulary, read_json, write_json, writing_to, written_whole


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "file.txt"

    def fail() -> None:
        with written_whole(path) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(path.parent.iterdir()) == []
    with written_whole(path) as beside:
        beside.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_json_survives(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"b": [1, 2.5, None]}


def test_a_place_that_cannot_be_written_is_named(below_a_file):
    with pytest.raises(UserError, match=r"cannot write .*; choose another folder or free some space"):
        write_json(below_a_file / "a.json", {})


def test_an_error_without_words_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*: OSError; choose"), writing_to(tmp_path):
        raise OSError


def test_lines_of_a_vocabulary_may_end_as_windows_ends_them():
    assert parse_vocabulary("[PAD]\r\né\r\n".encode(), "vocab.txt") == ("[PAD]", "é")
