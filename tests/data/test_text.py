import dataclasses
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from tfcompress.data import text
from tfcompress.data.dataset import Dataset
from tfcompress.data.images import digits
from tfcompress.errors import UserError


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


def of(name, train, validation, test, dtype=object):
    parts = [(np.array(part, dtype), np.zeros(len(part), int)) for part in (train, validation, test)]
    return Dataset.from_arrays(name, ["x"], *parts)


def test_unlabelled_texts_are_merged_without_the_held_out_ones():
    first = of("first", ["Hello!", "a b", "c", "unseen"], ["v w"], ["t"])
    second = of("second", ["hello", "A, B", "V  W.", "T", "d"], ["not this"], ["nor this"], dtype=str)
    assert text.unlabelled(first, second, apart_from=first) == ["Hello!", "a b", "c", "unseen", "d"]
    assert text.unlabelled(second, apart_from=second) == ["hello", "A, B", "V  W.", "T", "d"]


def test_texts_that_are_tokenized_together_are_those_that_are_tokenized_one_by_one(tiny_text):
    alone = tiny_text.prepared(decode=lambda one: tiny_text.decode(one))

    def found(data):
        stream = data.stream(7, 3, 0, 2, targets=lambda split, features, labels, indices: (labels, indices))
        return [data.examples("validation"), data.batches("test", 5), stream]

    for together, expected in zip(found(tiny_text), found(alone), strict=True):
        assert together.element_spec == expected.element_spec
        pairs = zip(together.as_numpy_iterator(), expected.as_numpy_iterator(), strict=True)
        for one, other in pairs:
            tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_images_have_no_texts():
    with pytest.raises(UserError, match="digits is not a text data set"):
        text.texts(digits(), "train")


def test_texts_are_returned_unchanged():
    odd = ["", "ä\u0000b", "\u2028", "😀"]
    assert text.texts(of("odd", odd, odd, odd), "test") == odd
    data = dataclasses.replace(of("odd", odd, odd, odd), decode=lambda raw: 0)
    assert text.texts(data, "train") == odd
