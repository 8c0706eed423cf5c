"""A view that was brought up to date equals a view that was built from all items."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk import UNKNOWN, CatalogView, Labels, Vocabulary, align
from endcap.sdk.testing import SampleEvent, SampleItem, catalog
from endcap.sdk.view_updates import update_view


NAMES = st.sampled_from(["", "blue", "mug", "pot", "tea"])
LABELS = st.lists(NAMES.filter(bool), max_size=3).map(tuple)
PRICES = st.sampled_from([float("nan"), 1.0, 2.5])
LABEL_VALUES = st.one_of(NAMES, st.booleans(), st.lists(NAMES, max_size=2))
ITEMS = st.builds(
    SampleItem,
    id=st.sampled_from("abcdef"),
    title=NAMES,
    categories=LABELS,
    price=PRICES,
    available=st.booleans(),
    availability=st.sampled_from(["", "in_stock", "preorder"]),
    days_old=st.integers(0, 3),
    description=NAMES,
    brand=NAMES,
    tags=LABELS,
    group_id=NAMES,
    original_price=PRICES,
    cost=PRICES,
    # Values of the types that their attributes have: the others do not come this far.
    attributes=st.fixed_dictionaries({}, optional={"colour": LABEL_VALUES, "size": st.integers(0, 3)}),
)
WRITES = st.lists(st.lists(ITEMS, max_size=4), max_size=5)


def said(view: CatalogView) -> dict[str, object]:
    """Everything that a view says, in values that can be compared."""

    def plain(value: object) -> object:
        if isinstance(value, Labels):
            return (value.names, value.codes.tolist(), value.offsets.tolist())
        if isinstance(value, np.ndarray):
            return (value.dtype, np.nan_to_num(value, nan=-1).tolist(), value.flags.writeable)
        if isinstance(value, Vocabulary):
            return (value.ids, value.rows([*value.ids, "unheard-of"]).tolist())
        if isinstance(value, Mapping):
            return {name: plain(each) for name, each in value.items()}
        return value

    own = [field.name for field in fields(view) if field.name not in {"version", "lineage", "revisions"}]
    return {name: plain(getattr(view, name)) for name in own}


def written(view: CatalogView, items: Sequence[SampleItem], *, revision: int = 1) -> CatalogView | None:
    """Update a view with items that were written at one revision."""
    by_id = {item.id: item for item in items}
    new = [item_id for item_id in by_id if item_id not in view.vocabulary]
    known = [item_id for item_id in by_id if item_id in view.vocabulary]
    ids = sorted(known, key=view.vocabulary.row) + new
    changed = catalog([by_id[item_id] for item_id in ids])
    changed = replace(changed, revisions=np.full(len(ids), revision))
    rows = np.array([view.vocabulary.row(item_id) for item_id in ids], np.int32)
    rows[rows == UNKNOWN] = len(view) + np.arange(len(new))
    return update_view(view, changed, rows, version="test")


def updated(view: CatalogView, items: Sequence[SampleItem], *, revision: int = 1) -> CatalogView:
    after = written(view, items, revision=revision)
    assert after is not None
    return after


@given(WRITES)
def test_after_any_writes_the_view_is_that_of_all_items(writes: list[list[SampleItem]]) -> None:
    items: dict[str, SampleItem] = {}
    view = catalog([])
    for write in writes:
        items.update((item.id, item) for item in write)
        view = updated(view, write)
        assert said(view) == said(catalog(items.values()))


def test_columns_that_say_the_same_are_shared() -> None:
    mug, pot = (
        SampleItem("mug", "Mug", ("kitchen",), 3.0, attributes={"size": 2}),
        SampleItem("pot", brand="Acme"),
    )
    before = catalog([mug, pot], [SampleEvent("ann", "pot")])

    after = updated(before, [replace(mug, available=False)])

    assert after.available.tolist() == [False, True]
    assert before.available.tolist() == [True, True]
    changed = {field.name for field in fields(before)} - {
        field.name for field in fields(before) if getattr(after, field.name) is getattr(before, field.name)
    }
    assert changed == {"available", "revisions", "attributes", "users_by_age", "users_by_week"}
    assert after.attributes["size"] is before.attributes["size"]
    assert after.users_by_age["purchase"] is before.users_by_age["purchase"]


def test_what_was_counted_stays_and_a_new_item_starts_from_nothing() -> None:
    before = catalog(["mug"], [SampleEvent("ann", "mug")])

    after = updated(before, [SampleItem("pot")])

    assert after.vocabulary.ids == ("mug", "pot")
    assert after.users_by_age["purchase"].sum(axis=0).tolist() == [1, 0]
    assert after.users_by_week["purchase"].sum(axis=0).tolist() == [1, 0]


def test_an_item_without_an_original_price_costs_usually_what_was_paid() -> None:
    before = replace(catalog([SampleItem("mug", original_price=5.0)]), paid_prices=np.array([4.0]))

    after = updated(before, [SampleItem("mug"), SampleItem("pot", original_price=2.0)])

    np.testing.assert_array_equal(after.usual_prices, [4.0, 2.0])


def test_an_attribute_that_loses_its_last_value_leaves_the_view() -> None:
    before = catalog([SampleItem("mug", attributes={"size": 2, "colour": "red"}), "pot"])

    after = updated(before, [SampleItem("mug")])

    assert dict(after.attributes) == {}


def test_an_attribute_that_has_another_type_now_needs_the_view_built_again() -> None:
    before = catalog(
        [SampleItem("mug", attributes={"size": "large"}), SampleItem("pot", attributes={"size": 2})]
    )

    assert written(before, [SampleItem("pot", attributes={"size": "small"})]) is None


def test_the_view_names_the_rows_that_changed_since_another_one() -> None:
    before = catalog(["mug", "pot", "tea"])

    middle = updated(before, [SampleItem("pot", "Pot"), SampleItem("cup")], revision=7)
    after = updated(middle, [SampleItem("pot", "Red pot"), SampleItem("jar")], revision=8)

    def rows(later: CatalogView, earlier: CatalogView) -> list[int] | None:
        changed = later.changed_since(earlier)
        return None if changed is None else changed.tolist()

    assert rows(middle, before) == [1, 3]
    assert rows(after, before) == [1, 3, 4]
    assert rows(after, middle) == [1, 4]
    assert rows(after, after) == []
    assert rows(after, catalog(["mug", "pot", "tea"])) is None


def test_numbers_in_the_place_of_labels_change_rows_that_nobody_wrote() -> None:
    before = catalog([SampleItem("mug", attributes={"size": "large"}), "pot"])

    after = replace(catalog(["mug", SampleItem("pot", attributes={"size": 2})]), lineage=before.lineage)

    assert after.changed_since(before) is None


@pytest.mark.parametrize("rows", [[1, 0], [0, 0], [0, 3], [3]])
def test_rows_out_of_order_and_gaps_are_rejected(rows: list[int]) -> None:
    changed = catalog(list("ab")[: len(rows)])

    with pytest.raises(ValueError, match="must ascend"):
        update_view(catalog(["mug", "pot"]), changed, np.array(rows, np.int32), version="test")


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.lists(st.sampled_from("abcdefgh"), unique=True))
def test_an_alignment_with_a_vocabulary_that_grew_is_that_with_a_new_one(
    source: list[str], target: list[str]
) -> None:
    half = len(target) // 2
    model, short = Vocabulary(source), Vocabulary(target[:half])
    align(model, short)

    grown, expected = align(model, short.extended(target[half:])), align(model, Vocabulary(target))

    for name in ("source", "target", "to_source"):
        np.testing.assert_array_equal(getattr(grown, name), getattr(expected, name))
        assert getattr(grown, name).dtype == np.int32
    assert grown.identical == expected.identical
