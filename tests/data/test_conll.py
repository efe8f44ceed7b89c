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


def test_comments_are_no_words(read):
    found = read("# id 5\tdomain=en\nEU _ _ B-ORG\n# _ _ O\n#eu _ _ O\n\n# id 6\tdomain=en\n\n# id 7\nSo _ _ O\n")
    assert found == [(("EU", "#", "#eu"), ("B-ORG", "O", "O")), (("So",), ("O",))]


def test_lines_of_conll_u_that_stand_for_no_word_are_left_out(read):
    rows = ["# text = Vámonos al mar", "1-2\tVámonos\t_", "1\tVamos\tVERB", "2\tnos\tPRON", "2.1\t_\tADV", "3-4\tal\t_"]
    rows += ["3\ta\tADP", "4\tel\tDET", "5\tmar\tNOUN"]
    tags = ("VERB", "PRON", "ADP", "DET", "NOUN")
    assert read("\n".join(rows), text=2, label=3) == [(("Vamos", "nos", "a", "el", "mar"), tags)]
    assert read("2-3\tO\nx\tO\n") == [(("2-3", "x"), ("O", "O"))]  # a score, for instance
    numbered = "1-1\tEU\tB-ORG\n1-2\tsays\tO\n1-3\tso\tO\n\n2-1\tWho\tO\n2-2\tsays\tO\n2-3\tso\tO\n"  # as WebAnno does
    assert [sentence.words for sentence in read(numbered, text=2)] == [("EU", "says", "so"), ("Who", "says", "so")]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("1\tEU\tPROPN\n2-3\tdu\t_\n", {}, r"has only numbers in column 1, such as '1'; say in data\.columns\.text"),
        ("Token NER_tag Tags\nEU B-ORG O\n", {}, r"words\.txt, line 1: 'Token NER_tag Tags' is a header, .*; remove"),
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
