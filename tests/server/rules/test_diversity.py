"""Diversity: windows over an attribute, and pages of unlike items."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.catalog.configuration.rules import CapRule, DiversityMethod, DiversityRule, PinRule
from endcap.sdk.testing import SampleItem, catalog
from endcap.sdk.text import tokenize
from endcap.server.reranking import similarity as similarity_module
from endcap.server.reranking.similarity import Similarity


PageOf = Callable[..., Any]

MMR, DPP = DiversityMethod.MMR, DiversityMethod.DPP
SIMILARITY = pytest.mark.parametrize("method", [MMR, DPP])


def shelf(**brands: str) -> list[SampleItem]:
    return [SampleItem(item_id, brand=brand) for item_id, brand in brands.items()]


def test_no_two_in_a_window_share_a_value_as_far_as_items_allow(page_of: PageOf) -> None:
    items = shelf(a1="A", a2="A", a3="A", b1="B", c1="C")

    page = page_of(items, DiversityRule(attribute="brand", window=3))

    assert page.ids == ["a1", "b1", "c1", "a2", "a3"]  # nothing but A is left for the last place
    assert page.counts == {"diversity 1": {"crowded": 1}}


def test_a_window_sees_what_is_pinned_ahead(page_of: PageOf) -> None:
    items = shelf(a1="A", a2="A", b1="B", c1="C")

    page = page_of(items, DiversityRule(attribute="brand", window=2), PinRule(2, item_id="a1"))

    assert page.ids == ["b1", "a1", "c1", "a2"]


def test_diversity_does_not_reach_over_rungs(page_of: PageOf) -> None:
    items = shelf(a1="A", a2="A", b1="B")

    page = page_of(items, DiversityRule(attribute="brand", window=2), tiers=[0, 0, 1])

    assert page.ids == ["a1", "a2", "b1"]


def test_windows_of_several_attributes_hold_in_their_order(page_of: PageOf) -> None:
    items = [
        SampleItem("a", brand="A", tags=("red",)),
        SampleItem("b", brand="A", tags=("blue",)),
        SampleItem("c", brand="C", tags=("red",)),
    ]
    by_brand, by_tag = (DiversityRule(attribute=name, window=2) for name in ("brand", "tags"))

    assert page_of(items, by_brand, by_tag).ids == ["a", "c", "b"]
    assert page_of(items, by_tag, by_brand).ids == ["a", "b", "c"]


MUGS = [
    SampleItem("red mug", "red mug"),
    SampleItem("blue mug", "blue mug"),
    SampleItem("red mug again", "red mug"),
    SampleItem("kettle", "kettle"),
]
"""Relevance 1, 2/3, 1/3 and 0. Of the first: the similarity is 1/2, 1 and 0."""


def test_mmr_weighs_relevance_against_the_most_alike_item(page_of: PageOf) -> None:
    # After the first, at level 1/2: blue (2/3 - 1/2) / 2 = 1/12, again (1/3 - 1) / 2, kettle 0.
    assert page_of(MUGS, DiversityRule(MMR, level=0.5)).ids == [
        "red mug",
        "blue mug",
        "kettle",
        "red mug again",
    ]
    # At level 0.6: blue 4/15 - 3/10 < 0, again 2/15 - 3/5, kettle 0.
    assert page_of(MUGS, DiversityRule(MMR, level=0.6)).ids == [
        "red mug",
        "kettle",
        "blue mug",
        "red mug again",
    ]


def test_dpp_weighs_relevance_against_the_volume_of_the_page(page_of: PageOf) -> None:
    # After the first, blue has 1 - 1/4 left: at level 0.7 it is worth 0.2 + 0.7 log 0.75 < 0.
    assert 0.2 + 0.7 * log(0.75) < 0 < 0.5 * (2 / 3) + 0.5 * log(0.75)
    assert page_of(MUGS, DiversityRule(DPP, level=0.7), page_size=2).ids == ["red mug", "kettle"]
    assert page_of(MUGS, DiversityRule(DPP, level=0.5), page_size=2).ids == ["red mug", "blue mug"]


@SIMILARITY
def test_level_0_changes_nothing(page_of: PageOf, method: DiversityMethod) -> None:
    page = page_of(MUGS, DiversityRule(method, level=0.0))

    assert page.ids == [item.id for item in MUGS]
    assert page.counts == {"diversity 1": {"crowded": 0}}


@SIMILARITY
def test_level_1_gives_up_all_relevance(page_of: PageOf, method: DiversityMethod) -> None:
    items = [SampleItem(f"mug {n}", "red mug") for n in range(5)] + [
        SampleItem("kettle", "kettle"),
        SampleItem("blank"),
    ]

    page = page_of(items, DiversityRule(method, level=1.0), scores=[100.0, 99, 98, 97, 96, 2, 1])

    assert page.ids == ["mug 0", "kettle", "blank", "mug 1", "mug 2", "mug 3", "mug 4"]
    assert page.counts == {"diversity 1": {"crowded": 4}}  # all but three are copies


def test_of_several_rules_on_similarity_the_last_decides(page_of: PageOf) -> None:
    much, none = DiversityRule(MMR, level=1.0), DiversityRule(DPP, level=0.0)

    assert page_of(MUGS, much, none).ids == [item.id for item in MUGS]
    assert page_of(MUGS, none, much).ids == page_of(MUGS, much).ids


@SIMILARITY
def test_pinned_items_count_for_similarity(page_of: PageOf, method: DiversityMethod) -> None:
    page = page_of(MUGS, DiversityRule(method, level=1.0), PinRule(4, item_id="kettle"))

    assert page.ids == ["red mug", "blue mug", "red mug again", "kettle"]


@SIMILARITY
def test_caps_hold_whatever_diversity_prefers(page_of: PageOf, method: DiversityMethod) -> None:
    items = [
        SampleItem("a", "red", brand="A"),
        SampleItem("b", "blue", brand="A"),
        SampleItem("c", "red", brand="C"),
    ]

    page = page_of(items, DiversityRule(method, level=1.0), CapRule("brand", 1))

    assert page.ids == ["a", "c"]


TITLES = st.lists(
    st.lists(st.sampled_from(["red", "blue", "mug", "kettle", "steel"]), max_size=4).map(" ".join),
    min_size=1,
    max_size=8,
)


@given(TITLES)
def test_dpp_takes_the_item_that_enlarges_the_determinant_most(page_of: PageOf, titles: list[str]) -> None:
    items = [SampleItem(f"{n}", title) for n, title in enumerate(titles)]
    similarity = Similarity(catalog(items), np.arange(len(items), dtype=np.int32))
    kernel = np.stack([similarity.to(n) for n in range(len(items))])
    np.fill_diagonal(kernel, 1.0)

    ids = page_of(items, DiversityRule(DPP, level=1.0)).ids

    for count in range(2, len(ids) + 1):
        chosen = [int(item) for item in ids[: count - 1]]
        rest = [n for n in range(len(items)) if n not in chosen]
        volume = {n: float(np.linalg.det(kernel[np.ix_([*chosen, n], [*chosen, n])])) for n in rest}
        assert volume[int(ids[count - 1])] >= max(volume.values()) - 1e-6


def test_similarity_is_the_cosine_of_the_words_of_title_brand_categories_and_tags() -> None:
    view = catalog(
        [
            SampleItem("a", "Red MUG", brand="Acme", tags=("new",)),
            SampleItem("b", "mug, red red", categories=("Kitchen ware",)),
            SampleItem("c"),
        ]
    )

    similarity = Similarity(view, np.array([1, 0, 2], np.int32))

    assert similarity.to(1).tolist() == pytest.approx([2 / sqrt(4 * 4), 1.0, 0.0])
    assert similarity.to(2).tolist() == [0.0, 0.0, 0.0]


def test_words_are_read_once_although_counts_change(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def note(text: str) -> Sequence[str]:
        texts.append(text)
        return tokenize(text)

    monkeypatch.setattr(similarity_module, "tokenize", note)
    view = catalog([SampleItem("a", "Red mug"), SampleItem("b", "Blue mug")])
    rows = np.array([0, 1], np.int32)

    Similarity(view, rows)
    alike = Similarity(replace(view, version="later", users_by_age={}), rows).to(0)

    assert texts == ["Red mug", "Blue mug"]
    assert alike.tolist() == pytest.approx([1.0, 0.5])


def test_words_are_read_again_where_a_title_is_another() -> None:
    view = catalog([SampleItem("a", "Red mug"), SampleItem("b", "Blue mug")])
    rows = np.array([0, 1], np.int32)

    Similarity(view, rows)
    alike = Similarity(replace(view, titles=("Red mug", "Red mug")), rows).to(0)

    assert alike.tolist() == pytest.approx([1.0, 1.0])
