import pytest

from tfcompress.data.conll import read_sentences
from tfcompress.data.tables import Columns
from tfcompress.errors import UserError


@pytest.fixture
def read(tmp_path):
    def written(content, **columns):
        (tmp_path / "words.txt").write_text(content)
        return read_sentences(tmp_path / "words.txt", Columns(**columns))

    return written


def test_words_and_tags_are_the_first_and_last_columns(read):
    found = read("\n-DOCSTART- -X- -X- O\n\nU.N. NNP I-NP B-ORG\nofficial NN I-NP O\n\n\n. . O O")
    assert found == [(("U.N.", "official"), ("B-ORG", "O")), ((".",), ("O",))]


def test_columns_are_chosen_by_number(read):
    assert read("1\tthe dog\tDET\tO\n2\tbarks\tVERB\tO\n", text=2, label=3) == [(("the dog", "barks"), ("DET", "VERB"))]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("a O\nb\n", {}, r"words\.txt, line 2: 1 of at least 2 columns, with a word and its tag; add"),
        ("a X O\n\nb X\n", {}, "line 3: 2 of at least 3 columns"),
        ("a O\n", {"label": 4}, "line 1: 2 of at least 4 columns"),
        ("\n-DOCSTART- O\n", {}, "has no words; add one a line, with its tag"),
        ("a O\n", {"text": "word"}, r"data\.columns\.text is 'word'; words and tags stand in columns with numbers"),
    ],
)
def test_lines_without_a_word_and_a_tag_are_refused(read, content, columns, message):
    with pytest.raises(UserError, match=message):
        read(content, **columns)
