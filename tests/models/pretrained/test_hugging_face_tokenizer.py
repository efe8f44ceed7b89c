import json

import pytest

from tfcompress.errors import UserError
from tfcompress.models.pretrained.hugging_face_files import Files
from tfcompress.models.pretrained.hugging_face_tokenizer import WordPieces, read_tokenizer

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "##s", "film", "中")


def fast(words=WORDS, model=(), normalizer=(), **changes):
    """Returns a tokenizer.json as the tokenizers package writes it."""
    return {
        "added_tokens": [{"id": i, "content": word, "special": True} for i, word in enumerate(words[:5])],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "strip_accents": None, "lowercase": False}
        | dict(normalizer),
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {word: i for i, word in enumerate(words)}}
        | dict(model),
        **changes,
    }


def read(folder, words=WORDS, config=(), **files):
    if words:
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return read_tokenizer(Files.of_folder(folder), dict(config))


@pytest.mark.parametrize(
    ("files", "lowercase", "strip_accents"),
    [
        ({"tokenizer_config": {"do_lower_case": True}}, True, True),
        ({"tokenizer_config": {"do_lower_case": False}}, False, False),
        ({"tokenizer_config": {"do_lower_case": True, "strip_accents": False}}, True, False),
        ({"tokenizer_config": {"do_lower_case": False, "strip_accents": True}}, False, True),
        ({"tokenizer_config": {"tokenizer_class": "BertTokenizerFast"}, "tokenizer": fast()}, False, False),
        ({"tokenizer": fast(normalizer={"lowercase": True})}, True, True),
        ({"tokenizer": fast(normalizer={"lowercase": True, "strip_accents": False})}, True, False),
        ({}, True, True),
    ],
)
def test_case_and_accents_are_those_of_the_checkpoint(tmp_path, files, lowercase, strip_accents):
    assert read(tmp_path, **files) == WordPieces(WORDS, lowercase, strip_accents)


def test_a_vocabulary_with_capital_letters_is_not_lower_cased(tmp_path, capsys):
    found = read(tmp_path, (*WORDS, "Berlin"))
    assert (found.lowercase, found.strip_accents) == (False, False)
    assert "the vocabulary has capital letters, so texts are not lower-cased" in capsys.readouterr().err


def test_the_vocabulary_may_be_in_tokenizer_json_alone(tmp_path):
    shuffled = fast()
    shuffled["model"]["vocab"] = dict(sorted(shuffled["model"]["vocab"].items()))
    assert read(tmp_path, None, tokenizer=shuffled).vocabulary == WORDS
    (tmp_path / "other").mkdir()
    assert read(tmp_path / "other", None).vocabulary == ()


@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens": {"[E2]": 10, "[E1]": 9}},
        {"tokenizer_config": {"added_tokens_decoder": {"0": {"content": "[PAD]"}, "9": {"content": "[E1]"}}}},
        {"tokenizer": fast(added_tokens=[{"id": 9, "content": "[E1]"}, {"id": 7, "content": "film"}])},
    ],
)
def test_added_tokens_follow_the_vocabulary(tmp_path, files):
    found = read(tmp_path, **files)
    assert found.vocabulary[:10] == (*WORDS, "[E1]")
    assert "[E1]" in found.added
    assert "[PAD]" not in found.added


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer": fast(model={"vocab": {"a": 0, "b": 2}})}, r"the ids in tokenizer\.json .* are not 0 to 1"),
        ({"tokenizer": fast(model={"vocab": ["a"]})}, "has no vocabulary"),
        ({"tokenizer": fast((*WORDS[:5], "an"))}, r"has other tokens in vocab\.txt than in tokenizer\.json"),
        (
            {"tokenizer_config": {"do_lower_case": True}, "tokenizer": fast()},
            r"has do_lower_case: True in tokenizer_config\.json, but False in tokenizer\.json; correct the wrong one",
        ),
        ({"tokenizer_config": {"do_lower_case": "yes"}}, "has do_lower_case: yes in tokenizer_config"),
        ({"added_tokens": {"[E1]": 11}}, r"adds the token '\[E1\]' with the id 11, which is not free"),
        ({"added_tokens": {"[E1]": 7}}, r"adds the token '\[E1\]' with the id 7, which is not free"),
        ({"added_tokens": {"[E1]": "x"}}, "the added tokens of .* are not tokens with ids"),
        (
            {"tokenizer_config": {"added_tokens_decoder": {"9": "[E1]"}}},
            "the added tokens of .* are not tokens with ids",
        ),
    ],
)
def test_contradictions_are_refused_by_name(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, **files)


@pytest.mark.parametrize(
    ("files", "difference"),
    [
        ({"tokenizer_config": {"tokenizer_class": "RobertaTokenizer"}}, "has the tokenizer RobertaTokenizer"),
        ({"config": {"tokenizer_class": "CamembertTokenizer"}}, "has the tokenizer CamembertTokenizer"),
        (
            {"tokenizer_config": {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}},
            "has word_tokenizer_type: mecab in tokenizer_config.json",
        ),
        (
            {"tokenizer_config": {"subword_tokenizer_type": "character"}},
            "has subword_tokenizer_type: character in tokenizer_config.json",
        ),
        (
            {"tokenizer_config": {"tokenize_chinese_chars": False}},
            "has tokenize_chinese_chars: False in tokenizer_config.json",
        ),
        ({"tokenizer_config": {"do_basic_tokenize": False}}, "has do_basic_tokenize: False in tokenizer_config.json"),
        ({"tokenizer_config": {"never_split": ["a"]}}, "has never_split: ['a']"),
        ({"tokenizer_config": {"cls_token": {"content": "<s>"}}}, "has cls_token '<s>'"),
        ({"special_tokens_map": {"unk_token": "<unk>"}}, "has unk_token '<unk>'"),
        ({"tokenizer": fast(model={"type": "BPE"})}, "has the model BPE in tokenizer.json"),
        ({"tokenizer": {"lowercase": True}}, "has the model None in tokenizer.json"),
        ({"tokenizer": fast(normalizer={"type": "NFKC"})}, "has the normalizer NFKC in tokenizer.json"),
        ({"tokenizer": fast(pre_tokenizer={"type": "Metaspace"})}, "has the pre_tokenizer Metaspace in tokenizer.json"),
        (
            {"tokenizer": fast(normalizer={"handle_chinese_chars": False})},
            "has handle_chinese_chars: False in tokenizer.json",
        ),
        (
            {"tokenizer": fast(model={"continuing_subword_prefix": "@@"})},
            "has continuing_subword_prefix: @@ in tokenizer.json",
        ),
    ],
)
def test_other_tokenizations_are_told_and_leave_no_vocabulary(tmp_path, files, difference):
    found = read(tmp_path, **files)
    assert (found.vocabulary, found.other) == ((), difference)


def test_a_sentencepiece_is_told_by_its_file(tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"")
    assert read(tmp_path, None).other == "cuts texts by spiece.model"
