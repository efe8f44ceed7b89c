import numpy as np
import pytest

from tfcompress.data import text
from tfcompress.data.dataset import SPLITS
from tfcompress.data.registry import Data, load, named
from tfcompress.data.tables import Columns
from tfcompress.errors import UserError


def write(path, rows, header="label\ttext"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def csv_file(tmp_path):
    rows = [f'{n},"text {n}, ""quoted"" on\ntwo lines",{"good" if n % 4 else "bad"}' for n in range(40)]
    write(tmp_path / "reviews.csv", [*rows, "41,TEXT 1 quoted: on two lines!,good"], "id,text,label")
    return tmp_path / "reviews.csv"


def test_a_file_is_split_by_class(csv_file):
    data = load(named("text_file", csv_file))
    assert (data.name, data.classes) == ("reviews", ("bad", "good"))
    assert [np.bincount(data.labels[split]).tolist() for split in SPLITS] == [[6, 22], [2, 4], [2, 4]]
    texts = [t for split in SPLITS for t in text.texts(data, split)]
    assert len(set(texts)) == 40
    assert 'text 7, "quoted" on\ntwo lines' in texts
    again = load(named("text_file", csv_file))
    assert texts == [t for split in SPLITS for t in text.texts(again, split)]
    assert data.describe()["examples"] == {"train": 28, "validation": 6, "test": 6}


def test_three_texts_per_class_are_enough(tmp_path):
    long = "long " * 200_000
    write(tmp_path / "a.tsv", [f"{label}\t{label} {n} {long if n == 1 else ''}" for label in "xyz" for n in range(3)])
    data = load(named("text_file", tmp_path / "a.tsv"))
    assert [sorted(data.labels[split]) for split in SPLITS] == [[0, 1, 2]] * 3


GOOD = ["0\ta", "0\tb", "0\tc", "1\td", "1\te", "1\tf"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", None, r"cannot read .*a\.tsv \(No such file or directory\); name a \.csv, \.tsv"),
        ("a.txt", "", r"a\.txt is neither \.csv nor \.tsv"),
        ("a.tsv", "", r"has no column 'text'; its header has no columns"),
        ("a.tsv", "text\tclass\nx\ty\n", "has no column 'label'; its header has text, class"),
        ("a.tsv", "label\ttext\n", "has no rows after its header"),
        ("a.tsv", "label\ttext\n0\ta\n1\n", "line 3: the row does not have 2 fields"),
        ("a.csv", "label,text\n0,a, b\n", "line 2: the row does not have 2 fields"),
        ("a.csv", 'label,text\n0,"a\n1,b\n', "after line 1: unexpected end of data; check the quotation marks"),
        ("a.tsv", "\n".join(["label\ttext", *GOOD, " \tg"]), "line 8: the label is empty"),
        ("a.tsv", "\n".join(["label\ttext", *GOOD, "2\tx", "2\ty", "2\tY!"]), "class '2' has 2 different texts"),
        ("a.tsv", "\n".join(["label\ttext", *GOOD[:3]]), r"a: the labels of the train split are \['0'\]; at least two"),
        ("a.tsv", b"label\ttext\n0\ta\n0\t\xe9\n", "is not UTF-8 in line 3"),
    ],
)
def test_an_unusable_file_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        load(named("text_file", tmp_path / name))


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path):
    (tmp_path / "a.tsv").write_bytes(("\ufefflabel\ttext\r\n" + "\r\n".join(GOOD) + "\r\n").encode())
    data = load(named("text_file", tmp_path / "a.tsv"))
    assert sorted(t for split in SPLITS for t in text.texts(data, split)) == list("abcdef")


PAIR = "#1 String"
MRPC = Columns(text=PAIR, text_pair="#2 String", label="Quality")
STS = Columns(text="sentence1", text_pair="sentence2", label="score")


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of a data set of GLUE, whose test labels are secret."""

    def write_splits(header, rows):
        write(tmp_path / "train.tsv", rows, header)
        write(tmp_path / "dev.tsv", rows[:3], header)
        return tmp_path

    return write_splits


def test_pairs_with_quotes_that_are_not_closed_are_read_as_they_stand(folder, capsys):
    rows = [f'{n % 2}\t{n}\t" He said {n}\tshe said " no {n}' for n in range(40)]
    path = folder("\ufeffQuality\t#1 ID\t#1 String\t#2 String", rows)
    data = load(Data(name="text_file", path=path, columns=MRPC))
    assert data.classes == ("0", "1")
    assert data.describe()["examples"] == {"train": 34, "validation": 6, "test": 3}
    features, label = next(data.test.as_numpy_iterator())
    assert label == 0
    assert features.tolist() == [b'" He said 0', b'she said " no 0']
    assert data.test.element_spec[0].shape == (2,)
    assert text.texts(data, "test")[:2] == ['" He said 0', 'she said " no 0']
    assert "has no test split: its validation split judges the result" in capsys.readouterr().err


def test_scores_of_pairs_are_numbers(folder):
    path = folder("index\tsentence1\tsentence2\tscore", [f"{n}\ta {n}\tb {n}\t{n / 8:.3f}" for n in range(40)])
    data = load(Data(name="text_file", path=path, task="regression", columns=STS))
    assert (data.task.name, data.classes) == ("regression", ())
    assert data.labels["test"].tolist() == [0, 0.125, 0.25]
    assert data.test.element_spec[0].shape == (2,)
    with pytest.raises(
        UserError, match=r"class '0\.000' has 1 different texts; .*; if labels are scores, set data\.task to"
    ):
        load(Data(name="text_file", path=path, columns=STS, split={"validation": 0.5}))


def test_scored_pairs_of_an_embedding_are_two_examples(folder):
    path = folder("index\tsentence1\tsentence2\tscore", [f"{n}\ta {n}\tb {n}\t{n}" for n in range(40)])
    data = load(Data(name="text_file", path=path, task="embedding", columns=STS))
    assert text.texts(data, "test") == ["a 0", "b 0", "a 1", "b 1", "a 2", "b 2"]
    assert data.labels["test"].tolist() == [0, 0, 1, 1, 2, 2]
    for first, second in zip(*[iter(text.texts(data, "train"))] * 2, strict=True):
        assert (first[0], second[0], first[1:]) == ("a", "b", second[1:])
    with pytest.raises(UserError, match=r"name the column of the second text: data\.columns\.text_pair"):
        load(Data(name="text_file", path=path, task="embedding", columns={"text": "sentence1", "label": "score"}))


def test_several_labels_stand_in_columns_of_their_own(tmp_path):
    rows = [f"text {n},{n % 2},{int(n > 20)},1" for n in range(40)]
    write(tmp_path / "a.csv", rows, "text,rude,long,any")
    chosen = {"name": "text_file", "path": tmp_path / "a.csv", "task": "multilabel", "classes": {"rude": "toxic"}}
    data = load(Data(**chosen, columns={"labels": ["rude", "long"]}))
    assert data.classes == ("toxic", "long")
    for example, labels in data.train.as_numpy_iterator():
        number = int(example.split()[1])
        assert labels.tolist() == [number % 2, number > 20]
    for columns, message in [
        ({}, r"data\.task is multilabel and data\.columns\.labels \[\]; multilabel takes in labels one column"),
        ({"labels": ["rude", "text"]}, "line 2: 'text 0' in a column of labels; each takes 0 or 1"),
        ({"labels": ["rude", "kind"]}, "has no column 'kind'; its header has text, rude, long, any"),
    ]:
        with pytest.raises(UserError, match=message):
            load(Data(**chosen, columns=columns))


def test_a_table_without_a_header_has_numbered_columns(folder):
    path = folder("gj04\t1\t\tThe first.", [f"gj04\t{n % 2}\t*\tThe {n}." for n in range(40)])
    data = load(Data(name="text_file", path=path, columns={"text": 4, "label": 2}))
    assert text.texts(data, "test") == ["The first.", "The 0.", "The 1.", "The 2."]
    assert data.labels["test"].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        (
            "regression",
            "good\tx\ty",
            "line 3: the label 'good' is not a finite number; correct it, or set data.task to",
        ),
        ("regression", "nan\tx\ty", "line 3: the label 'nan' is not a finite number"),
        ("embedding", "inf\tx\ty", "line 3: the label 'inf' is not a finite number"),
        ("classification", "1\tx", "line 3: the row does not have 3 fields like the header; correct it"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, task, row, message):
    write(tmp_path / "a.tsv", ["1\ta\tb", row, "2\tc\td"], "label\ttext\tpair")
    with pytest.raises(UserError, match=rf"a\.tsv, {message}"):
        load(Data(name="text_file", path=tmp_path / "a.tsv", task=task, columns={"text_pair": "pair"}))


def test_a_pair_file_with_one_text_is_refused(tmp_path):
    write(tmp_path / "a.tsv", GOOD)
    with pytest.raises(
        UserError, match=r"has no column 'second'; its header has label, text; say in data\.columns which"
    ):
        load(Data(name="text_file", path=tmp_path / "a.tsv", columns={"text_pair": "second"}))


def test_the_files_of_a_folder_must_fit_together(folder, tmp_path):
    path = folder("label\ttext", [*GOOD, "0\tg", "1\th"])
    write(path / "test.csv", ["neutral,b"], "label,text")
    with pytest.raises(
        UserError, match=r"the test split has the label 'neutral', which does not occur in train; .* 0, 1"
    ):
        load(named("text_file", path))
    write(path / "test.tsv", ["0\tb"])
    with pytest.raises(UserError, match=r"has test\.csv and test\.tsv for test; keep one of them"):
        load(named("text_file", path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no file for a split; call them train, dev and test"):
        load(named("text_file", tmp_path / "empty"))


def test_texts_for_evaluation_are_all_test(tmp_path):
    write(tmp_path / "a.tsv", GOOD)
    data = load(named("text_file_test", tmp_path / "a.tsv"))
    assert text.texts(data, "test") == list("abcdef")
    assert [int(part.cardinality()) for part in (data.train, data.validation)] == [0, 0]


WORDS = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\nBlackburn NNP I-PER\n.\t.\tO\n"


def test_words_keep_their_tags(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(WORDS.replace("\n", "\r\n"))
    data = load(Data(name="text_file", path=tmp_path, task="tokens", classes={"B-PER": "B-P", "I-PER": "I-P"}))
    assert data.classes == ("B-ORG", "B-P", "I-P", "O") == data.task.classes
    found = [(words.tolist(), labels.tolist()) for words, labels in data.test.as_numpy_iterator()]
    assert found == [([b"EU", b"rejects"], [0, 3]), ([b"Peter", b"Blackburn", b"."], [1, 2, 3])]
    assert text.texts(data, "train") == ["EU rejects", "Peter Blackburn ."]


@pytest.mark.parametrize("columns", [{"text_pair": 2}, {"labels": [2, 3]}, {"image": "picture"}])
def test_words_with_tags_have_no_other_columns(tmp_path, columns):
    (tmp_path / "words.conll").write_text(WORDS)
    with pytest.raises(UserError, match=rf"columns\.{next(iter(columns))} is given, but words with tags have text and"):
        load(Data(name="text_file", path=tmp_path, task="tokens", columns=columns))


def test_sentences_of_one_file_are_divided(tmp_path):
    (tmp_path / "words.conll").write_text("".join(f"word{n}\tO\nName\tB-X\n\n" for n in range(20)))
    data = load(Data(name="text_file", path=tmp_path / "words.conll", task="tokens"))
    assert [int(part.cardinality()) for part in (data.train, data.validation, data.test)] == [14, 3, 3]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "test.txt").write_text("a B-X\n")
    for train, message in (
        ("a O\n\n", r"folder: the only tag is 'O'; at least two are needed; say in data\.columns\.label which"),
        ("a O\nb B-Y\n\n", r"the test split has the tag 'B-X', which does not occur in train; .* B-Y, O"),
    ):
        (tmp_path / "folder" / "train.txt").write_text(train * 3)
        with pytest.raises(UserError, match=message):
            load(Data(name="text_file", path=tmp_path / "folder", task="tokens"))
