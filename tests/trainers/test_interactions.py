from pathlib import Path

import numpy as np
import polars as pl
import pytest

from endcap.sdk.catalog_view import ItemColumns
from endcap.sdk.errors import InvalidInput
from endcap.sdk.snapshot import conform, event_schema, item_schema, item_table, user_schema, write_snapshot
from endcap.trainers.interactions import Interactions


def interactions(*events: tuple[str, str, str]) -> Interactions:
    """Build from (user, item, type), a millisecond apart."""
    users, items, types = zip(*events, strict=True)
    return Interactions.of_columns(users, items, types, range(len(events)), as_of=len(events))


def test_rows_point_into_the_sorted_item_ids() -> None:
    found = interactions(("ann", "tea", "view"), ("bob", "mug", "view"), ("ann", "mug", "view"))

    assert found.item_ids == ("mug", "tea")
    assert found.events.rows.tolist() == [1, 0, 0]
    assert found.events.users.tolist() == [0, 1, 0]


def test_views_count_less_beside_a_few_purchases() -> None:
    """Weights 1 and 5, which are 3 on average."""
    found = interactions(("ann", "tea", "view"), ("ann", "mug", "purchase"))

    assert found.positives.rows.tolist() == [1, 0]
    assert found.positives.weights.tolist() == pytest.approx([1 / 3, 5 / 3])


def test_purchases_are_trusted_alone_once_there_are_a_thousand() -> None:
    views = [("ann", "tea", "view")] * 9_999
    few = interactions(*views, ("ann", "mug", "purchase"))
    enough = interactions(*views, *[("ann", "mug", "purchase")] * 1_000)

    assert len(few.positives.rows) == 10_000
    assert len(enough.positives.rows) == 1_000
    assert set(enough.positives.weights.tolist()) == {1}


def test_a_snapshot_without_evidence_for_items_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no events of a weight above 0"):
        _ = interactions(("ann", "tea", "refund")).positives


def test_all_events_are_choices_where_nobody_bought() -> None:
    found = interactions(("ann", "tea", "view"), ("ann", "mug", "click"))

    assert found.positives.rows.tolist() == [1, 0]


def test_the_matrix_counts_nobody_twice() -> None:
    found = interactions(("ann", "tea", "purchase"), ("ann", "tea", "purchase"), ("bob", "mug", "purchase"))

    assert found.matrix().toarray().tolist() == [[0, 1], [1, 0]]
    assert found.matrix().dtype == np.float32


def test_a_snapshot_without_events_is_rejected(tmp_path: Path) -> None:
    snapshot = write_snapshot(
        tmp_path / "snapshot",
        items=item_schema().to_frame(),
        users=user_schema().to_frame(),
        events=event_schema().to_frame(),
        shop="empty",
        as_of=0,
    )

    with pytest.raises(InvalidInput, match="no events to learn from"):
        Interactions.of_snapshot(snapshot)


def test_the_items_are_those_that_somebody_did_something_to(tmp_path: Path) -> None:
    """Of the three items of the table nobody saw the lamp; of those seen, the table lacks the cup."""
    items = ItemColumns(
        ids=["tea", "lamp", "mug"],
        titles=["Green tea", "Lamp", "Red mug"],
        categories=[["drinks"], [], []],
        prices=np.array([4.0, 5.0, np.nan]),
        available=np.ones(3, np.bool_),
        created=np.array([7, 8, 9]),
    )
    events = [("ann", item_id, "view", 1) for item_id in ("tea", "cup", "mug")]
    snapshot = write_snapshot(
        tmp_path / "snapshot",
        items=item_table(items),
        users=user_schema().to_frame(),
        events=conform(
            pl.DataFrame(events, schema=["user", "item_id", "type", "time"], orient="row"), event_schema()
        ),
        shop="tiny",
        as_of=2,
        event_weights={"view": 2.0},
    )

    found = Interactions.of_snapshot(snapshot)

    assert found.event_weights == {"view": 2.0}

    assert found.item_ids == tuple(found.items.ids) == ("cup", "mug", "tea")
    assert list(found.items.titles) == ["", "Red mug", "Green tea"]
    assert [list(names) for names in found.items.categories] == [[], [], ["drinks"]]
    np.testing.assert_array_equal(found.items.prices, [np.nan, np.nan, 4])
    assert found.items.available.tolist() == [False, True, True]
    assert found.items.created.tolist() == [0, 9, 7]
