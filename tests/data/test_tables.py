import codecs

import pytest

from tfcompress.data.tables import Row, read_table
from tfcompress.errors import UserError


@pytest.fixture
def write(tmp_path):
    def written(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,é\n",
        "\ufeffa,b\r\n1,é\r\n",
        codecs.BOM_UTF16_LE + "a,b\r\n1,é\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "a,b\n1,é".encode("utf-16-be"),
        '"a","b"\n\n"1","é"\n\n',
    ],
)
def test_tables_are_read_in_the_encodings_that_programs_write(write, content):
    (row,) = read_table(write("t.csv", content), ["b", "a"])
    assert row.fields == ("é", "1")


def test_quotes_have_a_meaning_in_csv(write):
    rows = read_table(write("t.csv", 'a,b\n1,"two ""lines"",\nquoted"\n2,x\n'), ["b"])
    assert rows == [Row(3, ('two "lines",\nquoted',)), Row(4, ("x",))]


def test_quotes_in_tsv_are_characters_unless_rows_only_fit_with_them(write):
    plain = write("t.tsv", 'a\tb\n"1\t"x" y"\n2\t"z"\n')
    assert [row.fields for row in read_table(plain, ["a", "b"])] == [('"1', '"x" y"'), ("2", '"z"')]
    quoted = write("u.tsv", 'a\tb\n1\t"one\ttab, ""two""\nlines"\n2\tz\n')
    assert [row.fields for row in read_table(quoted, ["b"])] == [('one\ttab, "two"\nlines',), ("z",)]


def test_columns_have_numbers_where_there_is_no_header(write):
    path = write("t.tsv", "x\ty\tz\nu\tv\tw\n")
    assert [row.fields for row in read_table(path, [3, 1])] == [("z", "x"), ("w", "u")]
    with pytest.raises(UserError, match=r"t\.tsv has no column 4; data\.columns may give 1 to 3, the first is 1"):
        read_table(path, [4])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (codecs.BOM_UTF16_LE + b"a\x00b", "begins like UTF-16 but is not"),
        ("a\tb\n1\t2\n".encode("utf-16-le"), "has the character NUL, perhaps as UTF-16 without a byte order mark"),
        ("a\tb\n1\t2\n".encode("utf-32"), "has the character NUL"),
        ("a\tb\ta\n1\t2\t3\n", "has several columns 'a'; rename or remove those that are not meant"),
        ("a\tb\n1\t2\n1\n", "line 3: the row does not have 2 fields like the header"),
        ("x\ty\n", "has no column 'a'; its header has x, y; say in data.columns which column is which, by numbers if"),
    ],
)
def test_what_is_no_table_is_refused(write, content, message):
    with pytest.raises(UserError, match=message):
        read_table(write("t.tsv", content), ["a"])
