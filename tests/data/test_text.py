import dataclasses
import hashlib
import unicodedata

import numpy as np
import pytest

from tfcompress.data import text
from tfcompress.data.dataset import SPLITS, Dataset
from tfcompress.data.images import digits
from tfcompress.data.registry import load, named
from tfcompress.errors import UserError


@pytest.mark.parametrize(
    ("name", "sizes", "classes", "digest"),
    [
        (
            "trec",
            [4376, 500, 500],
            ("abbreviation", "description", "entity", "human", "location", "number"),
            "a130e709a7bc9010",
        ),
        ("sms_spam", [3588, 450, 450], ("ham", "spam"), "743844bfc791901c"),
        ("movie_reviews", [8566, 1000, 1000], ("negative", "positive"), "5b361b23ce3b4322"),
    ],
)
def test_splits_are_fixed_stratified_and_share_no_text(name, sizes, classes, digest):
    data = load(named(name))
    assert data.classes == classes
    assert [data.size(split) for split in SPLITS] == sizes
    texts = {split: text.texts(data, split) for split in SPLITS}
    assert len({text.normalized(t) for split in SPLITS for t in texts[split]}) == sum(sizes)
    shares = [np.bincount(data.labels[split]) / data.size(split) for split in SPLITS]
    assert np.ptp(shares, axis=0).max() < 0.005
    content = "\n".join(
        f"{label} {t}" for split in SPLITS for label, t in zip(data.labels[split], texts[split], strict=True)
    )
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == digest


def test_labels_belong_to_their_texts():
    found = {}
    for name in ("trec", "sms_spam", "movie_reviews"):
        data = load(named(name))
        found |= {t: data.classes[y] for s in SPLITS for t, y in zip(text.texts(data, s), data.labels[s], strict=True)}
    assert found["What is the full form of .com ?"] == "abbreviation"
    assert found["How many times a year does the American Gourd Society publish The Gourd ?"] == "number"
    assert found["Ok lar... Joking wif u oni..."] == "ham"
    assert found["Without Shakespeare's eloquent language, the update is dreary and sluggish."] == "negative"


def write(path, rows, header="label\ttext"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


@pytest.fixture
def sst2_folder(tmp_path):
    write(tmp_path / "train.tsv", ['1\t"good film', "0\tbad film", "1\tgood film"])
    write(tmp_path / "dev.tsv", ["0\tno crème brûlée", "1\tyes"])
    write(tmp_path / "test.tsv", ["1\tyes"])
    return tmp_path


def test_sst2_keeps_its_official_splits(sst2_folder):
    data = load(named("sst2", sst2_folder))
    assert (data.name, data.classes) == ("sst2", ("negative", "positive"))
    assert text.texts(data, "train") == ['"good film', "bad film", "good film"]
    assert text.texts(data, "validation") == ["no crème brûlée", "yes"]
    assert [data.labels[split].tolist() for split in SPLITS] == [[1, 0, 1], [0, 1], [1]]


def test_sst2_with_other_labels_is_refused(sst2_folder):
    write(sst2_folder / "train.tsv", ["0\ta", "1\tb", "2\tc"])
    with pytest.raises(UserError, match="has the labels 0, 1, 2; SST-2 has 0 and 1"):
        load(named("sst2", sst2_folder))


def test_a_folder_with_a_label_missing_from_train_is_refused(sst2_folder):
    write(sst2_folder / "test.tsv", ["1\ta", "neutral\tb"])
    with pytest.raises(
        UserError, match=r"test\.tsv has the label 'neutral', which does not occur in train\.tsv; .* 0, 1"
    ):
        load(named("text_file", sst2_folder))


def test_a_folder_without_a_file_is_refused(sst2_folder):
    (sst2_folder / "test.tsv").unlink()
    with pytest.raises(UserError, match=r"cannot read .*test\.tsv \(No such file"):
        load(named("text_file", sst2_folder))


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


@pytest.mark.parametrize(
    "words",
    [
        "की का के को कु मीना मेना मैना मोना",  # Hindi: the vowels are combining marks
        "กิน กัน กึน กุน กูน ปิด ปัด ปุด",  # Thai, the same
        "தமிழ் தமழ் বাংলা বংলা",
        "שָׁלוֹם שלום كَتَبَ كُتِبَ كتب",
        "각 간 강 가",  # each one character, or two or three when decomposed
        "résumé resume",
    ],
)
def test_words_that_differ_in_a_combining_mark_are_different(words):
    normalized = {text.normalized(word) for word in words.split()}
    assert len(normalized) == len(words.split())
    assert normalized == {text.normalized(unicodedata.normalize("NFD", f"{word}!")) for word in words.split()}


def test_emoji_are_words_however_they_are_drawn():
    texts = ["good", "good 😀", "good 😡", "good 😀😡", "good 👩\u200d💻", "good 👩", "good 🇩🇪", "good 🇫🇷"]
    assert len({text.normalized(one) for one in texts}) == len(texts)
    assert text.normalized("I ❤\ufe0f it") == text.normalized("i ❤ it!")
    assert text.normalized("👍🏽") == text.normalized("👍")
    assert text.normalized("good😀") == text.normalized("good 😀")


def test_case_punctuation_and_invisible_characters_make_no_difference():
    assert text.normalized("Well,  DONE_it!") == text.normalized("well done_it") == "well done_it"
    assert text.normalized("می\u200cخواهم") == text.normalized("میخواهم")
    assert text.normalized(" ?! ") == "?!"


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


def of(name, train, validation, test, dtype=object):
    parts = [(np.array(part, dtype), np.zeros(len(part), int)) for part in (train, validation, test)]
    return Dataset.from_arrays(name, ["x"], *parts)


def test_unlabelled_texts_are_merged_without_the_held_out_ones():
    first = of("first", ["Hello!", "a b", "c", "unseen"], ["v w"], ["t"])
    second = of("second", ["hello", "A, B", "V  W.", "T", "d"], ["not this"], ["nor this"], dtype=str)
    assert text.unlabelled(first, second, apart_from=first) == ["Hello!", "a b", "c", "unseen", "d"]
    assert text.unlabelled(second, apart_from=second) == ["hello", "A, B", "V  W.", "T", "d"]


def test_images_have_no_texts():
    with pytest.raises(UserError, match="digits is not a text data set"):
        text.texts(digits(), "train")


def test_texts_are_returned_unchanged():
    odd = ["", "ä\u0000b", "\u2028", "😀"]
    assert text.texts(of("odd", odd, odd, odd), "test") == odd
    data = dataclasses.replace(of("odd", odd, odd, odd), decode=lambda raw: 0)
    assert text.texts(data, "train") == odd


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sst2", r"sst2 needs the folder that contains train\.tsv, dev\.tsv and test\.tsv; pass it as data\.path"),
        ("text_file", r"text_file needs your \.csv or \.tsv file; pass it as data\.path"),
    ],
)
def test_the_users_own_data_sets_need_a_path(name, message):
    with pytest.raises(UserError, match=message):
        load(named(name))
