import hashlib

import numpy as np
import pytest

from tfcompress.data import text
from tfcompress.data.dataset import SPLITS
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
