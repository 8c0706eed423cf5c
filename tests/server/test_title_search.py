"""Search by the titles in memory, while the database does not answer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk.testing import SampleItem, catalog
from endcap.server.recommending.title_search import match_titles


TITLES = ("LUNCH BAG RED RETROSPOT", "LUNCH BOX", "RED BAGS", "BAGGAGE LABEL", "绿茶", "茉莉绿茶", "茶杯")
VIEW = catalog([SampleItem(title, title=title) for title in TITLES])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Two of two words, in the shorter title first; then one of two.
        ("red bag", ["RED BAGS", "LUNCH BAG RED RETROSPOT", "BAGGAGE LABEL"]),
        ("boxes", ["LUNCH BOX"]),
        ("lunch b", ["LUNCH BOX", "LUNCH BAG RED RETROSPOT", "BAGGAGE LABEL", "RED BAGS"]),
        ("绿茶", ["绿茶", "茉莉绿茶", "茶杯"]),
        ("", []),
        ('"*', []),
        ("kettle", []),
    ],
)
def test_the_expected_titles_come_first(text: str, expected: list[str]) -> None:
    rows, _ = match_titles(VIEW, text)

    assert [TITLES[row] for row in rows] == expected


def test_relevance_is_the_share_of_the_words_and_a_little_for_a_short_title() -> None:
    """ "RED BAGS" has the words red, bags and bag; "BAGGAGE LABEL" begins like bag."""
    rows, relevance = match_titles(VIEW, "red bag")

    assert rows.tolist() == [2, 0, 3]
    assert relevance.tolist() == pytest.approx([(2 + 1 / 4) / 2, (2 + 1 / 5) / 2, (1 / 2 + 1 / 3) / 2])
    assert rows.dtype == np.int32
    assert relevance.dtype == np.float32


def test_a_view_of_other_titles_is_read_anew() -> None:
    changed = replace(VIEW, titles=("kettle", *TITLES[1:]))

    assert match_titles(VIEW, "kettle")[0].tolist() == []
    assert match_titles(changed, "kettle")[0].tolist() == [0]


@given(st.text(max_size=256))
def test_any_text_is_answered(text: str) -> None:
    rows, relevance = match_titles(VIEW, text)

    assert len(set(rows.tolist())) == len(rows)
    assert (relevance > 0).all()
    assert (np.diff(relevance) <= 0).all()
