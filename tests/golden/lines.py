"""Lines of text that are hard to tokenize, and a vocabulary that covers most of them; both are deterministic."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from tfcompress.data.tokenizer import SPECIAL_TOKENS

_ENGLISH = (
    "a about above actor affable again airport album all always an and animal any are art as at author bank be "
    "best big bird book born both bridge build but by called can capital car cat century chess city color come "
    "composer computer could country cup day deep did discover distance do does dog during each earth east eight "
    "engine every fall far fast film find first five flower food for four from game give go gold good great had "
    "half has have he heart height her high his horse hot house how human ice if in into invent is island it its "
    "john kind king know lake language large last lead letter life light like live long look love made make man "
    "many map mean measure million moon more most mountain movie much music name new night nine no north not "
    "novel number ocean of off oil old on one or orange order other out over own paint paper part people person "
    "place planet play point poem president price queen question rain read red river road room run salt school "
    "sea see seven she ship short sing six sky small snow some song south space stage star state stone story "
    "street sun take tall team ten than that the their them then there they thing this three time to town tree "
    "two un under up use war was water way we weight west what when where which white who whom why will wind "
    "with word work world write year yellow you young"
)
_SUFFIXES = "ing ed s es er est ly ness able ment ful less tion al ity ic ous ive ish en 's believ aff affable"
_ODD = (
    "Paris München façade naïve résumé Ærøskøbing Łódź İstanbul STRASSE Straße ΣΊΣΥΦΟΣ Σίσυφος όσος ПРИВЕТ "
    "привет ёлка Việt Nam ñandú Çeşme ﬁnance ﬂow ſtreet Ⅷ ½ ² ™ ℃ Å K Ω ﷺ ㎏ ㍿ ａｂｃ ＡＢＣ １２３ ｶﾞ ガ ハ゜ "
    "パ 東京 大阪府 中国 汉字 漢字 ひらがな カタカナ 한국어 각 한 ไทย ह\u093fन\u094dद\u0940 "
    "क\u094dषत\u094dर\u093fय தம\u0bbfழ\u0bcd עברית שלום العربية مرحبا٠١٢ فارسی ქართული ᲥᲐᲠᲗᲣᲚᲘ Ꭰꭰ አማርኛ "
    "ខ\u17d2ម\u17c2រ བ\u0f7cད་ \U0001d4b3\U0001d4ce\U0001d537 𝟘𝟙 \U00020000\U0002a700 \U0002f800 😀 👍🏽 "
    "👩\u200d💻 🏳\ufe0f\u200d🌈 🇩🇪 1\ufe0f\u20e3 ☃ ♥ ♥\ufe0f ❤ → ± × ÷ €5 £3 ¥9 §7 ¶ · … – — “a” ‘b’ «c» e\u0301 "
    "o\u0308 A\u030a ẞ ß ŉ ǰ ΐ ﬃ ﬓ K\u0327 x\u0301\u0323 K Ω µ İ ı \xad \u200b a\xadb \u2060 a\u200db \ufeffx � "
    "\ufffe \uffff \U0010ffff \ue000 a\xa0b a\u3000b a\u2003b a\x85b a\u2028b a\u2029b \u180e \u061c \u06dd "
    "co-op don't rock'n'roll e.g. U.S.A. 3.14 1,000 50% $9.99 #tag @me a/b a\\b {x} [y] <z> ~!^`| __init__ C++ "
    "c# http://x.y/z?a=1&b=2 a@b.cd [CLS] [SEP] [MASK] [PAD] [UNK] [cls] ##ing # ## ### unaffable unaffables "
    "unaffing"
)
_WORDS, _ENDINGS, _OTHERS = _ENGLISH.split(), _SUFFIXES.split(), _ODD.split(" ")
_MARKS = "\u0300\u0301\u0303\u0308\u0327\u0323\u0345\u05b0\u064b\u093c\u0e31\u3099\u309a\u20dd\ufe0f\u200d"
_SCRIPTS = (
    (0x00C0, 0x0250), (0x0370, 0x0400), (0x0400, 0x0530), (0x0590, 0x0600), (0x0600, 0x0700), (0x0900, 0x0980),
    (0x0E00, 0x0E80), (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2100), (0x2100, 0x2200), (0x2460, 0x2500),
    (0x3040, 0x3100), (0x3300, 0x3400), (0x3400, 0x4E00), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xF900, 0xFB00),
    (0xFB00, 0xFE00), (0xFE70, 0xFF00), (0xFF00, 0xFFF0), (0x1D400, 0x1D800), (0x1F300, 0x1FA00), (0x20000, 0x2A6E0),
)  # fmt: skip
_FLAGS = "".join(map(chr, range(0x1F1E6, 0x1F200)))


def vocabulary(results: Iterable[str]) -> tuple[str, ...]:
    """Returns tokens for words, suffixes and every character that natural text contains or case folding produces."""
    characters = {*string.printable.strip(), "\ufffd", *"".join(results), *"".join(_OTHERS), *_MARKS, *_FLAGS}
    for start, end in _SCRIPTS:
        characters |= set(map(chr, range(start, min(end, start + 160))))
    single = sorted(one for one in characters if not one.isspace() and unicodedata.category(one) not in ("Cc", "Cf"))
    tokens = [
        *SPECIAL_TOKENS,
        *single,
        *(f"##{one}" for one in single),
        *_WORDS,
        *(f"##{one}" for one in _ENDINGS),
        *_OTHERS,
    ]
    return tuple(dict.fromkeys(token for token in tokens if token and not set(token) & {"\n", "\r"}))


def lines(telling: Sequence[str]) -> list[str]:
    """Returns over 2,000 lines; in some of them, each of the characters in `telling` occurs between two letters."""
    rng = np.random.default_rng(7)
    found = ["", " ", "  \t \n\r\x0b\x0c", "\u00a0", "\u3000", "\x00", "a\x00b", "[PAD]", "x" * 20]
    found += [" ".join(f"x{one}y" for one in telling[i : i + 20]) for i in range(0, len(telling), 20)]
    rest = rng.choice(np.array([c for c in range(0x20, 0x30000) if not 0xD800 <= c < 0xE000]), 3000, replace=False)
    found += [" ".join(f"q{chr(c)}z" for c in rest[i : i + 20]) for i in range(0, len(rest), 20)]
    found += [_sentence(rng) for _ in range(600)]
    found += [_odd_sentence(rng) for _ in range(300)]
    for start, end in _SCRIPTS:
        found += [_run(rng, start, end) for _ in range(12)]
    found += [_marked(rng) for _ in range(150)]
    found += [f"a{chr(c)}b {chr(c)} c{chr(c)}{chr(c)}d" for c in (*range(0x21), *range(0x7F, 0xA1))]
    found += ["".join(chr(c) for c in rng.integers(1, 0xD800, 30)) for _ in range(100)]
    found += ["".join(chr(c) for c in rng.integers(0x20, 0x7F, 60)) for _ in range(100)]
    return list(dict.fromkeys(found + _long() + _halves()))


def _sentence(rng: np.random.Generator) -> str:
    words = []
    for _ in range(rng.integers(1, 20)):
        word = str(rng.choice(_WORDS))
        if rng.random() < 0.3:
            word += str(rng.choice(_ENDINGS))
        if rng.random() < 0.2:
            word = str(rng.choice([word.upper(), word.title(), word[::-1], word.swapcase()]))
        words.append(word + str(rng.choice(["", "", "", ",", ".", "?", "!", ";", " -", "…", "'s"])))
    return " ".join(words)


def _odd_sentence(rng: np.random.Generator) -> str:
    words = [str(rng.choice(_OTHERS if rng.random() < 0.6 else _WORDS)) for _ in range(rng.integers(1, 16))]
    gaps = rng.choice([" ", " ", "  ", "", "\t", "\u00a0", "\n", "-"], len(words))
    return "".join(f"{word}{gap}" for word, gap in zip(words, gaps, strict=True))


def _run(rng: np.random.Generator, start: int, end: int) -> str:
    near = rng.random() < 0.5  # each of the first 160 characters of a script is in the vocabulary
    letters = [chr(c) for c in rng.integers(start, min(end, start + 160) if near else end, 24)]
    places = sorted(rng.integers(0, len(letters), 4), reverse=True)
    for place in places:
        letters.insert(int(place), " ")
    return "".join(letters)


def _marked(rng: np.random.Generator) -> str:
    """Returns letters followed by combining marks, which Unicode composition reorders and merges."""
    bases = [*string.ascii_letters, *"αΩжЇあかハ가ᄀกक", "\u1161", "\u11a8", "é", "ß", "中", "😀"]
    words = []
    for _ in range(8):
        marks = rng.choice(list(_MARKS), rng.integers(0, 4))
        words.append(str(rng.choice(bases)) + "".join(marks) + str(rng.choice(["", "x", "ς", "I"])))
    return " ".join(words)


def _long() -> list[str]:
    """Returns words close to the maximum of 100 bytes, and texts that are far too long."""
    near = [one * count for one in "aé中😀" for count in (24, 25, 26, 33, 34, 49, 50, 51, 99, 100, 101)]
    folded = ["ﷺ" * 5 + "a", "ß" * 50, "ß" * 51, "İ" * 34, "\u1e9e" * 50, "a" * 99 + "\u00ad" + "b", "ﬃ" * 33 + "a"]
    return [*near, *folded, "word " * 20_000, "a" * 100_000, "中" * 50_000, "😀 " * 20_000, "! " * 300, "the\n" * 200]


def _halves() -> list[str]:
    """Returns texts with lone surrogates, which a text field can produce while an emoji is being edited."""
    return ["\ud800", "a\udc00b", "cat\ud83d", "\ude00 dog", "x \ud83d y", "\udfff\ud800", "\ud83d\ud83d", "é\udc01é"]
