import pickle

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from tfcompress.data.dataset import Dataset
from tfcompress.data.fast_tokenizer import FastTokenizer
from tfcompress.data.tasks import TokenClassification
from tfcompress.data.text import load_tokenizer, tokenized
from tfcompress.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from tfcompress.errors import UserError

CORPUS = ["the film is unbelievable", "a film of a café in 中国", "un film incroyable 😀", "lower lowest low"] * 4
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
LENGTH = 24


def roberta():
    """A byte-level BPE as RoBERTa's, with its special tokens around a text and between the two of a pair."""
    found = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    found.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    found.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    found.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    return found


def xlm():
    """A Unigram as SentencePiece makes it."""
    found = tokenizers.Tokenizer(models.Unigram())
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>")
    )
    found.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return found


@pytest.fixture(params=[roberta, xlm], scope="module")
def original(request):
    return request.param()


@pytest.fixture(scope="module")
def tokenizer(original):
    return FastTokenizer.of_checkpoint(original.to_str(), LENGTH)


def expected(original, *texts, **options):
    """What the package itself gives, cut and filled up by hand where the text is short enough."""
    found = original.encode(*texts, **options)
    ids = found.ids + [1] * (LENGTH - len(found.ids))
    return ids, [1] * len(found.ids) + [0] * (LENGTH - len(found.ids))


@pytest.mark.parametrize("text", ["the film", "", "café 😀", "low \u200d"])
def test_ids_are_those_of_the_package(original, tokenizer, text):
    ids, mask = expected(original, text)
    found = tokenizer(tf.constant(text))
    np.testing.assert_array_equal(found["token_ids"], ids[:LENGTH])
    np.testing.assert_array_equal(found["padding_mask"], mask[:LENGTH])
    assert {row.dtype for row in found.values()} == {tf.int32}


def test_the_longer_text_of_a_pair_is_cut_first(original, tokenizer):
    short, long = "low", "the film is unbelievable " * 8
    for first, second in ((short, long), (long, short)):
        ids = tokenizer(tf.constant([first, second]))["token_ids"].numpy().tolist()
        pieces = original.encode(short, add_special_tokens=False).ids
        assert [token for token in pieces if token in ids] == pieces
        assert (len(ids), ids[0], ids[-1]) == (LENGTH, 0, 2)


def test_a_data_set_of_words_is_cut_and_aligned(original, tokenizer):
    words, labels = ["the", "unbelievable", "film"], [2, 0, 1]
    raw = tf.data.Dataset.from_tensor_slices((tf.ragged.constant([words]), tf.ragged.constant([labels])))
    classes = ("a", "b", "c")
    data = tokenized(Dataset("words", raw, raw, raw, classes, TokenClassification(classes)), tokenizer)
    found = original.encode(words, is_pretokenized=True)
    wanted = [
        labels[word] if word is not None and word not in found.word_ids[:place] else -1
        for place, word in enumerate(found.word_ids)
    ]
    np.testing.assert_array_equal(data.labels["test"][0], (wanted + [-1] * LENGTH)[:LENGTH])
    features, _ = next(iter(data.examples("test")))
    np.testing.assert_array_equal(features["token_ids"], (found.ids + [1] * LENGTH)[:LENGTH])


def test_a_folder_says_which_tokenizer_it_holds(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path) == tokenizer == pickle.loads(pickle.dumps(tokenizer))
    assert load_tokenizer(tmp_path, 7).sequence_length == 7
    own = Tokenizer((*SPECIAL_TOKENS, "film"), sequence_length=5)
    own.save(tmp_path)
    assert load_tokenizer(tmp_path) == own
    assert load_tokenizer(tmp_path, 7).sequence_length == 7


def test_what_cannot_be_read_is_told(original, tmp_path):
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read by tokenizers .*; save it again"):
        FastTokenizer.of_checkpoint('{"model": {"type": "Other"}}', 8)
    with pytest.raises(UserError, match="does not say how many tokens a text has"):
        FastTokenizer(original.to_str())
    with pytest.raises(UserError, match="No such file"):
        FastTokenizer.load(tmp_path)
