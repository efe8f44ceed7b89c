import dataclasses
import pickle
import string
import time

import numpy as np
import pytest
import tensorflow as tf
import tokenizers

from tfcompress.data.dataset import Dataset
from tfcompress.data.tasks import TokenClassification
from tfcompress.data.text import tokenized
from tfcompress.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from tfcompress.errors import UserError

CHARACTERS = [*string.ascii_lowercase, *string.digits, *".,!?'#", *"éßñ中国😀"]
TOKENS = ["the", "film", "is", "café", "un", "##believ", "##able", "##ing", "crème"]
VOCABULARY = (*SPECIAL_TOKENS, *CHARACTERS, *(f"##{character}" for character in CHARACTERS), *TOKENS)
TEXTS = [
    "The film is unbelievable!",
    "Café crème, STRASSE straße; naïve Señor e\u0301",
    "中国film国",
    "😀 is 😀😀 \u200d",
    "[CLS] ##ing [MASK]",
    "   \t\n",
    "",
    "q" * 101 + " the",
    "the " * 40,
]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(VOCABULARY, sequence_length=16)


def by_keras_nlp(texts, tokenizer):
    import keras_nlp

    layer = keras_nlp.models.BertTokenizer(
        list(tokenizer.vocabulary), lowercase=tokenizer.lowercase, strip_accents=tokenizer.strip_accents
    )
    preprocessor = keras_nlp.models.BertTextClassifierPreprocessor(layer, tokenizer.sequence_length)
    rows = list(tf.data.Dataset.from_tensor_slices(texts).map(preprocessor).as_numpy_iterator())
    return {name: np.stack([row[name] for row in rows]).astype(np.int32) for name in rows[0]}


@pytest.mark.parametrize(("lowercase", "strip_accents"), [(True, False), (False, False), (True, True), (False, True)])
def test_ids_equal_those_of_keras_nlp(lowercase, strip_accents):
    tokenizer = Tokenizer(VOCABULARY, lowercase, 16, strip_accents)
    expected = by_keras_nlp(TEXTS, tokenizer)
    found = tokenizer.encode(TEXTS)
    assert found.keys() == expected.keys() == {"token_ids", "segment_ids", "padding_mask"}
    for name, ids in expected.items():
        np.testing.assert_array_equal(found[name], ids)
        assert found[name].dtype == np.int32


@pytest.fixture(scope="module")
def fast():
    """The tokenizers package's own BERT with the same vocabulary."""
    found = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({token: i for i, token in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    found.normalizer = tokenizers.normalizers.BertNormalizer()
    found.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    found.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    found.enable_truncation(16)
    found.enable_padding(length=16)
    return found


NAMES = {"token_ids": "ids", "segment_ids": "type_ids", "padding_mask": "attention_mask"}


def test_the_longer_text_of_a_pair_is_cut_first(tokenizer, fast):
    rng = np.random.default_rng(0)
    words = ("the", "film", "is", "unbelievable", "zq")
    pairs = [tuple(" ".join(rng.choice(words, rng.integers(12))) for _ in range(2)) for _ in range(100)]
    found, expected = tokenizer.encode(pairs), fast.encode_batch(pairs)
    for name, theirs in NAMES.items():
        np.testing.assert_array_equal(found[name], [getattr(one, theirs) for one in expected])
    for name, row in tokenizer(tf.constant(pairs[3])).items():
        np.testing.assert_array_equal(row, found[name][3])


def test_labels_of_words_go_to_their_first_pieces(tokenizer, fast):
    words = ["the", "unbelievable", "", "zq", "film", "is"] * 2
    expected = fast.encode(words, is_pretokenized=True)
    firsts = [
        -1 if word is None or word in expected.word_ids[:place] else word
        for place, word in enumerate(expected.word_ids)
    ]
    features = tf.ragged.constant([words, ["film", "is"]])
    labels = tf.ragged.constant([list(range(len(words))), [7, 8]])
    raw = tf.data.Dataset.from_tensor_slices((features, labels))
    classes = tuple(map(str, range(len(words))))
    data = tokenized(Dataset("words", raw, raw, raw, classes, TokenClassification(classes)), tokenizer)
    np.testing.assert_array_equal(data.labels["test"], [firsts, [-1, 7, 8, *[-1] * 13]])
    for row, (features, _) in zip(
        (expected, fast.encode(["film", "is"], is_pretokenized=True)), data.examples("test"), strict=True
    ):
        for name, theirs in NAMES.items():
            np.testing.assert_array_equal(features[name], getattr(row, theirs))


def test_ids_are_indices_of_tokens(tokenizer):
    def tokens(text):
        encoded = tokenizer.encode([text])
        return [VOCABULARY[i] for i in encoded["token_ids"][0][encoded["padding_mask"][0] == 1]]

    assert tokens("The film is unbelievable!") == [
        *("[CLS]", "the", "film", "is", "un", "##believ", "##able", "!", "[SEP]")
    ]
    assert tokens("") == ["[CLS]", "[SEP]"]
    assert tokens("the " * 40) == ["[CLS]", *["the"] * 14, "[SEP]"]


def test_accents_are_removed_only_if_asked_for():
    words = (*SPECIAL_TOKENS, "cafe", "café")
    (kept,), (stripped,) = (Tokenizer(words, True, 3, strip).encode(["CAFÉ"])["token_ids"] for strip in (False, True))
    assert (words[kept[1]], words[stripped[1]]) == ("café", "cafe")
    assert Tokenizer(words, True, 3, True).restricted(np.array([5])) == Tokenizer(words[:6], True, 3, True)


def test_it_decodes_a_data_set(tokenizer):
    texts, labels = np.array(TEXTS, object), np.zeros(len(TEXTS), int)
    raw = Dataset.from_arrays("texts", "a", *[(texts, labels)] * 3)
    data = dataclasses.replace(raw, decode=tokenizer)
    decoded = list(data.examples("test").as_numpy_iterator())
    expected = tokenizer.encode(TEXTS)
    for name, ids in expected.items():
        np.testing.assert_array_equal(np.stack([features[name] for features, _ in decoded]), ids)
    spec = data.batches("test", 4).element_spec[0]
    assert {name: (s.shape.as_list(), s.dtype) for name, s in spec.items()} == {
        name: ([None, 16], tf.int32) for name in expected
    }
    shuffled = next(iter(data.stream(4, seed=0, first_epoch=0, epochs=1)))
    assert shuffled[0]["token_ids"].shape == (4, 16)


def test_invalid_utf_8_becomes_the_replacement_character(tokenizer):
    expected = tokenizer.encode(["the \ufffd film"])["token_ids"][0]
    broken = tf.data.Dataset.from_tensors(b"the \xff film").map(tokenizer)
    np.testing.assert_array_equal(next(iter(broken))["token_ids"], expected)
    np.testing.assert_array_equal(tokenizer.encode(["the \udcff film"])["token_ids"][0, :3], expected[:3])


@pytest.mark.parametrize("text", ["the film ", "x", "!", "中", " ", "é"])
def test_a_megabyte_is_truncated_within_seconds(tokenizer, text):
    tokenizer.encode([""])
    start = time.monotonic()
    ids = tokenizer.encode([text * (1_000_000 // len(text.encode()))])["token_ids"]
    assert time.monotonic() - start < 5
    # A word of more than 100 bytes becomes [UNK].
    longest = text * (100 // len(text.encode()) + 1)
    np.testing.assert_array_equal(ids, tokenizer.encode([longest])["token_ids"])


def test_no_texts_give_no_rows(tokenizer):
    assert tokenizer.encode([])["token_ids"].shape == (0, 16)
    assert tokenizer.used([]).tolist() == []


def test_it_can_be_pickled_copied_and_saved(tokenizer, tmp_path):
    tokenizer.encode(["the film"])
    for copy in (pickle.loads(pickle.dumps(tokenizer)), dataclasses.replace(tokenizer)):
        assert copy == tokenizer
        np.testing.assert_array_equal(copy.encode(TEXTS)["token_ids"], tokenizer.encode(TEXTS)["token_ids"])
    odd = Tokenizer((*VOCABULARY, "\u2028", "\x85", "a\u3000"), lowercase=False, sequence_length=7, strip_accents=True)
    odd.save(tmp_path / "folder")
    assert Tokenizer.load(tmp_path / "folder") == odd
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["tokenizer.json", "vocab.txt"]
    assert odd != tokenizer


def test_learning_a_vocabulary_is_deterministic():
    texts = ["The film is unbelievable", "an unbelievable film", "Is it the film?"] * 20
    learned = Tokenizer.trained(texts, 60, sequence_length=8)
    assert learned.vocabulary[:5] == SPECIAL_TOKENS
    assert {"film", "the", "unbelievable"} <= set(learned.vocabulary)
    assert len(learned.vocabulary) <= 60
    assert Tokenizer.trained(texts, 60, sequence_length=8) == learned
    assert SPECIAL_TOKENS.index("[UNK]") not in learned.encode(texts)["token_ids"]


@pytest.mark.parametrize(
    ("texts", "size"), [(["a"], 100_000), (["the film is", "a film"], 6), (["film \udcff"] * 3, 30)]
)
def test_few_texts_give_a_small_vocabulary(texts, size):
    learned = Tokenizer.trained(texts, size)
    assert len(SPECIAL_TOKENS) < len(learned.vocabulary) <= size
    assert learned.encode(["film"])["token_ids"].shape == (1, 128)


def test_a_restricted_tokenizer_spells_words_that_it_lacks(tokenizer):
    texts = ["the unbelievable film", "is the café"]
    small = tokenizer.restricted(tokenizer.used(texts))
    kept = tokenizer.kept(tokenizer.used(texts))
    assert len(small.vocabulary) == len(kept) < len(VOCABULARY)
    assert not {"crème", "##ing"} & set(small.vocabulary)
    np.testing.assert_array_equal(kept[small.encode(texts)["token_ids"]], tokenizer.encode(texts)["token_ids"])
    unknown = small.encode(["singing crème zoo7"])["token_ids"]
    assert small.vocabulary[unknown[0, 1]] == "s"
    assert (unknown != small.vocabulary.index("[UNK]")).sum() == unknown.size - 1  # è was unknown before, too


def test_used_tokens_include_those_beyond_the_sequence_length(tokenizer):
    used = tokenizer.used(["a " * 40 + "film"])
    assert [VOCABULARY[i] for i in used] == ["a", "film"]


@pytest.mark.parametrize(
    ("vocabulary", "length", "message"),
    [
        (("[PAD]", "[UNK]", "a"), 8, r"lacks \[CLS\], \[SEP\], \[MASK\]; a BERT needs all of"),
        ((*SPECIAL_TOKENS, "a", "b", "a"), 8, r"contains 'a' twice \(line 8\)"),
        ((*SPECIAL_TOKENS, "a", "", "b"), 8, r"has an empty token \(line 7\)"),
        ((*SPECIAL_TOKENS, "a"), 2, "sequence_length is 2; it must be at least 3"),
    ],
)
def test_an_invalid_tokenizer_is_refused(vocabulary, length, message):
    with pytest.raises(UserError, match=message):
        Tokenizer(vocabulary, sequence_length=length)


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [
        ([], 100, "the 0 texts contain no words"),
        ([" ", ""], 100, "contain no words"),
        (["a"], 5, "5 tokens is too small"),
    ],
)
def test_texts_without_words_and_small_vocabularies_are_refused(texts, size, message):
    with pytest.raises(UserError, match=message):
        Tokenizer.trained(texts, size)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", None, r"vocab\.txt cannot be read \(No such file or directory\)"),
        ("vocab.txt", b"[PAD]\n\xff\n", r"vocab\.txt is not UTF-8 in line 2"),
        ("vocab.txt", b"a\nb\n", r"the vocabulary lacks \[PAD\]"),
        ("tokenizer.json", None, r"tokenizer\.json cannot be read"),
        ("tokenizer.json", b"{", r"tokenizer\.json does not describe a tokenizer"),
        ("tokenizer.json", b"[]", r"tokenizer\.json does not describe a tokenizer"),
        ("tokenizer.json", b'{"lowercase": true}', r"it must have lowercase and sequence_length"),
    ],
)
def test_a_broken_folder_is_named(tokenizer, tmp_path, name, content, message):
    tokenizer.save(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        Tokenizer.load(tmp_path)
