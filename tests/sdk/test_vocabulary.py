"""Ids and rows, and how two vocabularies lie in each other."""

import gc
from weakref import ref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk import UNKNOWN, Vocabulary, align


IDS = st.lists(st.sampled_from("abcdefgh"), unique=True)


def test_an_id_s_position_is_its_row() -> None:
    vocabulary = Vocabulary(["mug", "kettle"])

    assert vocabulary.row("kettle") == 1
    assert vocabulary.row("lamp") == UNKNOWN
    assert vocabulary.rows(["kettle", "lamp", "mug"]).tolist() == [1, UNKNOWN, 0]
    assert vocabulary.known(["kettle", "lamp", "mug", "kettle"]).tolist() == [1, 0, 1]
    assert "mug" in vocabulary
    assert "lamp" not in vocabulary


def test_rows_are_int32_even_when_there_are_none() -> None:
    assert Vocabulary([]).rows([]).dtype == np.int32
    assert Vocabulary("a").known("b").dtype == np.int32


def test_an_id_twice_is_rejected() -> None:
    with pytest.raises(ValueError, match="holds each id once"):
        Vocabulary(["mug", "mug"])


def test_scores_are_spread_over_the_rows_of_another_vocabulary() -> None:
    """The model knows mug, kettle and an old lamp; the catalog has a new cup, kettle and mug."""
    model, catalog = Vocabulary(["mug", "kettle", "lamp"]), Vocabulary(["cup", "kettle", "mug"])

    alignment = align(model, catalog)

    assert alignment.to_source.tolist() == [UNKNOWN, 1, 0]
    spread = alignment.spread(np.array([[0.1, 0.2, 0.3]], np.float32))
    np.testing.assert_array_equal(spread, np.array([[np.nan, 0.2, 0.1]], np.float32))


def test_scores_of_equal_vocabularies_are_not_copied() -> None:
    scores = np.ones((1, 2), np.float32)

    alignment = align(Vocabulary("ab"), Vocabulary("ab"))

    assert alignment.identical
    assert alignment.spread(scores) is scores


def test_the_same_ids_in_another_order_are_not_identical() -> None:
    assert not align(Vocabulary("ab"), Vocabulary("ba")).identical


@given(source=IDS, target=IDS)
def test_an_alignment_moves_every_shared_id_and_nothing_else(source: list[str], target: list[str]) -> None:
    scores = np.arange(len(source), dtype=np.float32)[np.newaxis]

    (spread,) = align(Vocabulary(source), Vocabulary(target)).spread(scores)

    expected = [source.index(item_id) if item_id in source else np.nan for item_id in target]
    np.testing.assert_array_equal(spread, np.array(expected, np.float32))


def test_an_alignment_is_computed_once_and_kept_no_longer_than_its_vocabularies() -> None:
    source, target = Vocabulary("abc"), Vocabulary("cb")
    alignment = align(source, target)
    kept = ref(source)

    assert align(source, target) is alignment
    del source
    gc.collect()
    assert kept() is None


def test_an_alignment_that_is_shared_cannot_be_written_to() -> None:
    alignment = align(Vocabulary("abc"), Vocabulary("cb"))

    with pytest.raises(ValueError, match="read-only"):
        alignment.to_source[0] = 7
