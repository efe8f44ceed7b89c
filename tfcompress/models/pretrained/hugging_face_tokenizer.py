"""Reads how a checkpoint in Hugging Face's layout cuts texts, and tells what is not BERT's WordPiece tokenization.

The settings are those of `BertTokenizer` of transformers, and of tokenizer.json of the tokenizers package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfcompress.errors import UserError
from tfcompress.files import parse_vocabulary
from tfcompress.models.pretrained.hugging_face_files import Files, read_optional
from tfcompress.progress import console

_CLASSES = (
    "BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast", "BertJapaneseTokenizer",
    "ElectraTokenizer", "ElectraTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend",
)  # fmt: skip
_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_PLAIN = {
    "do_basic_tokenize": True,
    "tokenize_chinese_chars": True,
    "word_tokenizer_type": "basic",
    "subword_tokenizer_type": "wordpiece",
}
"""Settings whose other values mean another tokenization."""

_OTHER_FILES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "merges.txt")
_TOGETHER = "use a checkpoint whose files belong together"


@dataclass(frozen=True)
class WordPieces:
    """BERT's WordPiece tokenization, as a checkpoint has it.

    Attributes:
        vocabulary: the tokens in the order of their ids; empty if the checkpoint has none.
        lowercase: whether texts are lower-cased first.
        strip_accents: whether accents are removed first.
        added: tokens that transformers finds in a text before it cuts it into words.
        special: the special tokens that the checkpoint names, by role, such as `pad_token`.
        other: how it cuts texts in another way, for messages; there is no vocabulary then. Otherwise empty.
        described: how it does that: the content of tokenizer.json, or empty.
    """

    vocabulary: tuple[str, ...] = ()
    lowercase: bool = True
    strip_accents: bool = True
    added: tuple[str, ...] = ()
    special: Mapping[str, str] = field(default_factory=dict, compare=False)
    other: str = ""
    described: str = ""


def read_tokenizer(files: Files, config: Mapping[str, Any]) -> WordPieces:
    """Returns how a checkpoint cuts texts, from vocab.txt, tokenizer.json and its other files.

    Args:
        files: of the checkpoint.
        config: content of config.json.

    Raises:
        UserError: its files contradict each other.
    """
    source = files.source
    settings = read_optional(files, "special_tokens_map.json") | read_optional(files, "tokenizer_config.json")
    fast = read_optional(files, "tokenizer.json")
    special = special_tokens(settings)
    other = _difference(files, settings, settings.get("tokenizer_class") or config.get("tokenizer_class"), fast)
    if other:
        described = files.read("tokenizer.json").decode() if fast else ""
        return WordPieces(special=special, other=other, described=described)
    found = _words(files, fast)
    added = _added(files, settings, fast)
    for token, place in sorted(added.items(), key=lambda item: item[1]):
        if place == len(found) and token not in found:
            found.append(token)
        if place >= len(found) or found[place] != token:
            raise UserError(f"{source} adds the token {token!r} with the id {place}, which is not free; {_TOGETHER}")
    if not found:
        return WordPieces(special=special)
    normalizer = fast.get("normalizer") or {}
    lowercase = _agreed("do_lower_case", settings.get("do_lower_case"), normalizer.get("lowercase"), source)
    if lowercase is None:
        lowercase = not _has_capitals(found)
        if not lowercase:
            console.print(f"{source}: the vocabulary has capital letters, so texts are not lower-cased", soft_wrap=True)
    strip = _agreed("strip_accents", settings.get("strip_accents"), normalizer.get("strip_accents"), source)
    extra = tuple(token for token in added if token not in _SPECIAL.values())
    return WordPieces(tuple(found), lowercase, lowercase if strip is None else strip, extra, special)


def _difference(files: Files, settings: Mapping[str, Any], kind: object, fast: Mapping[str, Any]) -> str:
    """Returns how texts are cut in another way than BERT's, for a message after the name of the checkpoint, or ""."""
    if kind is not None and kind not in _CLASSES:
        return f"has the tokenizer {kind}"
    for name, plain in _PLAIN.items():
        if settings.get(name) not in (None, plain):
            return f"has {name}: {settings[name]} in tokenizer_config.json"
    for name, token in special_tokens(settings).items():
        if token != _SPECIAL[name]:
            return f"has {name} {token!r}"
    if settings.get("never_split"):
        return f"has never_split: {settings['never_split']}"
    if fast:
        return _difference_of_fast(fast)
    other = next((name for name in _OTHER_FILES if name in files.names), None)
    return f"cuts texts by {other}" if other and "vocab.txt" not in files.names else ""


def _difference_of_fast(fast: Mapping[str, Any]) -> str:
    """Returns what tokenizer.json describes that is not BERT's tokenization, or ""."""
    for part, accepted in (
        ("model", "WordPiece"),
        ("normalizer", "BertNormalizer"),
        ("pre_tokenizer", "BertPreTokenizer"),
    ):
        value = fast.get(part)
        kind = value.get("type") if isinstance(value, dict) else value
        if kind != accepted:
            return f"has the {part} {kind} in tokenizer.json"
    model, normalizer = fast["model"], fast["normalizer"]
    for settings, name, plain in (
        (model, "continuing_subword_prefix", "##"),
        (model, "unk_token", "[UNK]"),
        (normalizer, "handle_chinese_chars", True),
        (normalizer, "clean_text", True),
    ):
        if settings.get(name, plain) != plain:
            return f"has {name}: {settings[name]} in tokenizer.json"
    return ""


def special_tokens(settings: Mapping[str, Any]) -> dict[str, str]:
    """Returns the special tokens that tokenizer_config.json or special_tokens_map.json names, by role."""
    given = {name: settings.get(name) for name in _SPECIAL}
    named = {name: value.get("content") if isinstance(value, dict) else value for name, value in given.items()}
    return {name: str(token) for name, token in named.items() if token is not None}


def _words(files: Files, fast: Mapping[str, Any]) -> list[str]:
    """Returns the vocabulary without added tokens, in the order of the ids."""
    source = files.source
    listed = (
        list(parse_vocabulary(files.read("vocab.txt"), f"vocab.txt of {source}")) if "vocab.txt" in files.names else []
    )
    if not fast:
        return listed
    ids = fast["model"].get("vocab")
    if not isinstance(ids, dict):
        raise UserError(f"tokenizer.json of {source} has no vocabulary; {_TOGETHER}")
    if sorted(ids.values(), key=str) != sorted(range(len(ids)), key=str):
        raise UserError(f"the ids in tokenizer.json of {source} are not 0 to {len(ids) - 1}, each once; {_TOGETHER}")
    found = sorted(ids, key=ids.__getitem__)
    if listed and listed != found:
        raise UserError(f"{source} has other tokens in vocab.txt than in tokenizer.json; {_TOGETHER}")
    return found


def _added(files: Files, settings: Mapping[str, Any], fast: Mapping[str, Any]) -> dict[str, int]:
    """Returns the added tokens with their ids, from the three places where a checkpoint may have them."""
    try:
        found = {token: int(place) for token, place in read_optional(files, "added_tokens.json").items()}
        decoder = settings.get("added_tokens_decoder") or {}
        found |= {str(entry["content"]): int(place) for place, entry in decoder.items()}
        found |= {str(entry["content"]): int(entry["id"]) for entry in fast.get("added_tokens") or ()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"the added tokens of {files.source} are not tokens with ids; {_TOGETHER}") from None
    return found


def _agreed(name: str, setting: object, normalizer: object, source: str) -> bool | None:
    """Returns a setting that tokenizer_config.json and tokenizer.json may both have; None if neither has it."""
    given = [value for value in (setting, normalizer) if value is not None]
    if not all(isinstance(value, bool) and value == given[0] for value in given):
        raise UserError(
            f"{source} has {name}: {setting} in tokenizer_config.json, but {normalizer} in tokenizer.json; correct the "
            "wrong one"
        )
    return bool(given[0]) if given else None


def _has_capitals(vocabulary: Sequence[str]) -> bool:
    return any(token != token.lower() for token in vocabulary if not token.startswith(("[", "<")))
