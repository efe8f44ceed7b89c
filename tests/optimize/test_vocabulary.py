import dataclasses

import numpy as np
import pytest
import tf_keras
from pydantic import ValidationError

from tests.answers import answers
from tfcompress.data.text import texts
from tfcompress.errors import UserError
from tfcompress.optimize.technique import Context
from tfcompress.optimize.vocabulary import TrimVocabulary


@pytest.fixture
def trimmed(tiny_bert, tiny_text):
    technique = TrimVocabulary()
    technique.check(tiny_bert)
    return technique.prepare(tiny_bert, Context(tiny_text, {})), technique.adapt(tiny_text)


def states(model, data, sentences):
    """The states of all tokens behind the last block."""
    watch = tf_keras.Model(model.inputs, model.get_layer("block_1_norm2").output)
    return answers(watch, data.decode.encode(sentences))


def test_texts_of_kept_tokens_give_the_same_states(tiny_bert, tiny_text, trimmed):
    model, data = trimmed
    assert len(data.decode.vocabulary) < len(tiny_text.decode.vocabulary)
    assert model.get_layer("token_embedding").input_dim == len(data.decode.vocabulary)
    sentences = texts(tiny_text, "train")
    np.testing.assert_array_equal(states(model, data, sentences), states(tiny_bert, tiny_text, sentences))


def test_other_texts_are_still_spelled(trimmed):
    model, data = trimmed
    encoded = data.decode.encode(["zebra"])
    assert data.decode.vocabulary.index("[UNK]") not in encoded["token_ids"]
    assert np.isfinite(answers(model, encoded)).all()


def test_tokens_of_another_corpus_stay(tiny_bert, tiny_text, trimmed):
    technique = TrimVocabulary(corpus=("trec",))
    data = technique.adapt(tiny_text)
    assert {"city", "country"} <= set(data.decode.vocabulary) - set(trimmed[1].decode.vocabulary)
    assert "quince" not in data.decode.vocabulary
    model = technique.prepare(tiny_bert, Context(tiny_text, {}))
    sentence = ["that city and country"]
    np.testing.assert_array_equal(states(model, data, sentence), states(tiny_bert, tiny_text, sentence))


def test_a_corpus_can_be_the_users_own_file(tiny_text, trimmed, tmp_path):
    rows = [f"a quince number {number}\t{'fruit' if number % 2 else 'other'}" for number in range(40)]
    (tmp_path / "own.tsv").write_text("\n".join(["text\tlabel", *rows]))
    data = TrimVocabulary(corpus=(f"text_file:{tmp_path}/own.tsv",)).adapt(tiny_text)
    assert "quince" in set(data.decode.vocabulary) - set(trimmed[1].decode.vocabulary)


def test_what_has_no_vocabulary_is_refused(tiny_vit, tiny_bert, tiny_data, tiny_text):
    with pytest.raises(UserError, match="vit has no Embedding that reads the input token_ids"):
        TrimVocabulary().check(tiny_vit)
    with pytest.raises(UserError, match="data set digits has no Tokenizer as its `decode`"):
        TrimVocabulary().prepare(tiny_bert, Context(tiny_data, {}))
    longer = dataclasses.replace(tiny_text.decode, vocabulary=(*tiny_text.decode.vocabulary, "unseen"))
    with pytest.raises(UserError, match=r"token_embedding has \d+ rows, but the tokenizer of words has \d+ pieces"):
        TrimVocabulary().prepare(tiny_bert, Context(dataclasses.replace(tiny_text, decode=longer), {}))


@pytest.mark.parametrize(("name", "message"), [("digits", "digits has no texts"), ("wikipedia", "unknown data set")])
def test_a_corpus_must_be_texts(name, message):
    with pytest.raises((ValidationError, UserError), match=message):
        TrimVocabulary(corpus=(name,))
