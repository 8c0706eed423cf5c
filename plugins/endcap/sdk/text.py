"""Text as words: one function for what is indexed, what is searched for and what models read.

Runs of letters and digits are words, in any script that puts spaces between words. Chinese, Japanese and
Korean do not, or put them elsewhere, so a run of their characters becomes its characters and its pairs
of neighbours: a query of one character finds what holds it, and a longer one weighs most where the
characters stand side by side.
"""

import re
import unicodedata
from itertools import pairwise


MAX_WORD_LENGTH = 64
"""Longer runs are cut: they are no words, and would bloat an index."""

_CJK = (
    "\u1100-\u11ff"  # Hangul letters
    "\u3005\u3007"  # iteration mark and zero
    "\u3040-\u30ff"  # Hiragana and Katakana
    "\u3130-\u318f"  # Hangul compatibility letters
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\uac00-\ud7af"  # Hangul syllables
    "\U00020000-\U0003ffff"  # rarer Han
)
_RUNS = re.compile(f"([{_CJK}]+)|([^\\W_{_CJK}]+)")


def tokenize(text: str) -> list[str]:
    """Return the words of a text, in order, repeated ones included.

    Width and compatibility forms, case and accents make no difference: ``"Café"`` and ``"ｃａｆｅ"`` give
    ``["cafe"]``. ``"绿茶 tea"`` gives ``["绿", "茶", "绿茶", "tea"]``. An apostrophe inside a word is
    dropped: ``"children's"`` gives ``["childrens"]``.
    """
    words: list[str] = []
    for characters, word in _RUNS.findall(_folded(text)):
        if characters:
            words += characters
            words += map("".join, pairwise(characters))
        else:
            words.append(word[:MAX_WORD_LENGTH])
    return words


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    # Hangul is put together again; a Latin letter has lost its accents by then.
    bare = "".join(character for character in decomposed if not _is_latin_accent(character))
    return unicodedata.normalize("NFC", bare).replace("'", "").replace("\u2019", "")


def _is_latin_accent(character: str) -> bool:
    return "\u0300" <= character <= "\u036f"
