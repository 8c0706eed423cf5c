"""Terms of items, by hand."""

import zlib

import numpy as np
import pytest

from endcap.sdk.content_features import (
    BUCKETS,
    TermIndex,
    is_label,
    item_terms,
    moment_weights,
    text_terms,
)
from endcap.sdk.testing import SampleItem, catalog


def test_a_text_gives_its_words_and_their_pairs() -> None:
    assert text_terms("Red Tea-Mug") == ["red", "tea", "mug", "red tea", "tea mug"]
    assert text_terms("") == []


def test_a_chinese_text_gives_characters_and_what_stands_beside_them() -> None:
    assert text_terms("绿茶")[:3] == ["绿", "茶", "绿茶"]


def test_an_item_gives_title_description_and_labels() -> None:
    view = catalog(
        [
            SampleItem(
                "mug",
                title="Red mug",
                description="Holds tea",
                brand="Acme",
                categories=("Kitchen", "Gifts"),
                tags=("new",),
                attributes={"colour": ["red", "white"], "dishwasher": True, "weight": 300},
            ),
            SampleItem("nameless"),
        ]
    )

    mug, nameless = item_terms(view)

    words = ["red", "mug", "red mug", "holds", "tea", "holds tea"]
    labels = ["colour=red", "colour=white", "dishwasher=true", "brand=Acme"]
    assert mug == [*words, *labels, "category=Gifts", "category=Kitchen", "tag=new"]
    assert nameless == []


def test_a_text_cannot_pass_for_a_label() -> None:
    assert is_label("brand=Acme")
    assert not any(map(is_label, text_terms("brand=Acme")))


def test_terms_are_counted_once_a_document() -> None:
    index = TermIndex(["mug", "red", "red mug", "tag=new"])

    counts = index.count([["red", "mug", "mug", "red mug"], [], ["tag=new"]])

    assert counts.offsets.tolist() == [0, 3, 3, 4]
    assert counts.terms.tolist() == [0, 1, 2, 3]
    assert counts.counts.tolist() == [2, 1, 1, 1]


def test_an_unknown_word_falls_into_a_bucket_and_all_else_unknown_is_passed_over() -> None:
    index = TermIndex(["mug"])

    counts = index.count([["mug", "绿茶", "tea mug", "brand=Acme"]])

    assert len(index) == 1 + BUCKETS
    assert counts.terms.tolist() == [0, 1 + zlib.crc32("绿茶".encode()) % BUCKETS]


def test_documents_become_a_table_over_the_terms_they_hold() -> None:
    counts = TermIndex(["cup", "mug", "red", "tea"]).count([["tea"], ["mug", "tea", "tea"], [], ["red"]])

    terms, table = counts.table(1, 4)

    assert terms.tolist() == [1, 2, 3]
    assert table.tolist() == [[1, 0, 2], [0, 0, 0], [0, 1, 0]]


def test_no_documents_are_no_error() -> None:
    counts = TermIndex(["mug"]).count([])

    assert len(counts) == 0
    assert [each.shape for each in counts.table(0, 0)] == [(0,), (0, 0)]


@pytest.mark.parametrize(
    ("times", "weights"), [([7, 7, 8, 9, 9], [0.36, 0.36, 0.6, 1, 1]), ([9, 7], [1, 0.6]), ([], [])]
)
def test_what_happened_at_one_moment_counts_alike(times: list[int], weights: list[float]) -> None:
    np.testing.assert_allclose(moment_weights(np.array(times, np.int64)), weights, rtol=1e-6)
