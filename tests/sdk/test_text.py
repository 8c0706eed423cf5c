"""Text as words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk.text import MAX_WORD_LENGTH, tokenize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" - , ", []),
        ("WHITE HANGING HEART T-LIGHT HOLDER", ["white", "hanging", "heart", "t", "light", "holder"]),
        ("Café crème", ["cafe", "creme"]),
        ("children's mug, CHILDREN\u2019S mug", ["childrens", "mug", "childrens", "mug"]),
        ("Straße", ["strasse"]),
        ("60W lamp_shade", ["60w", "lamp", "shade"]),
        ("ｃａｆｅ", ["cafe"]),
        ("绿茶", ["绿", "茶", "绿茶"]),
        ("绿茶tea杯", ["绿", "茶", "绿茶", "tea", "杯"]),
        ("かばん", ["か", "ば", "ん", "かば", "ばん"]),
        ("한국", ["한", "국", "한국"]),
        ("Привет мир", ["привет", "мир"]),
    ],
)
def test_a_text_becomes_its_words(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


def test_an_endless_word_is_cut() -> None:
    assert tokenize("a" * 1000) == ["a" * MAX_WORD_LENGTH]


@given(st.text())
def test_case_and_form_make_no_difference(text: str) -> None:
    assert tokenize(text.upper().lower()) == tokenize(text.upper())


@given(st.text(), st.text())
def test_words_on_both_sides_of_a_space_are_independent(left: str, right: str) -> None:
    assert tokenize(f"{left} {right}") == tokenize(left) + tokenize(right)


@given(st.text())
def test_words_are_their_own_words(text: str) -> None:
    for word in tokenize(text):
        assert word in tokenize(word)
