"""A snapshot of three items and two users, as strategies see it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from endcap.runtime.snapshot_view import snapshot_view
from endcap.sdk.features import AGE_BUCKETS, DAY
from endcap.sdk.snapshot import Snapshot, event_schema, item_schema, user_schema, write_snapshot


NOW = 1_700_000_000_000

ITEMS = [
    ("mug", "Mug", ["kitchen", "blue"], 4.5, True),
    ("kettle", "Kettle", [], None, False),
    ("lamp", "Lamp", None, 20.0, True),
]

EVENTS = [
    ("zoe", "mug", "purchase", 400, 6.0),
    ("adam", "lamp", "view", 2, 9.0),
    ("zoe", "lamp", "view", 5, None),
    ("zoe", "unheard-of", "purchase", 4, 3.0),
    ("zoe", "mug", "view", 0, None),
]


def snapshot_of(folder: Path, *, items: bool = True, events: bool = True) -> Snapshot:
    item_columns = {
        "item_id": [item[0] for item in ITEMS],
        "title": [item[1] for item in ITEMS],
        "description": [""] * 3,
        "language_code": ["en"] * 3,
        "categories": [item[2] for item in ITEMS],
        "brand": [""] * 3,
        "tags": [[]] * 3,
        "image_uris": [[], ["https://shop.example/kettle.jpg"], None],
        "price": [item[3] for item in ITEMS],
        "original_price": [None] * 3,
        "cost": [None] * 3,
        "group_id": [""] * 3,
        "available": [item[4] for item in ITEMS],
        "created_time": [NOW - 9 * DAY] * 3,
        "attributes": ['{"colour": "red", "watts": 40, "led": true}', None, "{}"],
    }
    event_columns = {
        "user": [event[0] for event in EVENTS],
        "item_id": [event[1] for event in EVENTS],
        "type": [event[2] for event in EVENTS],
        "time": [NOW - event[3] * DAY for event in EVENTS],
        "quantity": [1.0] * len(EVENTS),
        "price": [event[4] for event in EVENTS],
        "value": [None] * len(EVENTS),
    }
    return write_snapshot(
        folder / "snapshot",
        items=pl.DataFrame(item_columns if items else None, schema=item_schema()),
        users=pl.DataFrame(schema=user_schema()),
        events=pl.DataFrame(event_columns if events else None, schema=event_schema()),
        shop="default",
        as_of=NOW,
        currency="GBP",
    )


def test_items_become_rows_in_their_order(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path)

    view, _ = snapshot_view(snapshot)

    assert view.vocabulary.ids == ("mug", "kettle", "lamp")
    assert view.titles == ("Mug", "Kettle", "Lamp")
    assert [view.categories.of_row(row) for row in range(3)] == [("blue", "kitchen"), (), ()]
    np.testing.assert_array_equal(view.prices, [4.5, np.nan, 20])
    assert view.available.tolist() == [True, False, True]
    assert (view.currency, view.as_of, view.version) == ("GBP", NOW, snapshot.manifest.fingerprint)


def test_the_usual_price_is_what_was_paid(tmp_path: Path) -> None:
    view, _ = snapshot_view(snapshot_of(tmp_path))

    np.testing.assert_array_equal(view.usual_prices, [6, np.nan, np.nan])


def test_users_are_counted_by_type_and_age(tmp_path: Path) -> None:
    view, _ = snapshot_view(snapshot_of(tmp_path))

    purchases, views = view.users_by_age["purchase"], view.users_by_age["view"]
    assert purchases.shape == (AGE_BUCKETS, 3)
    assert np.argwhere(purchases).tolist() == [[9, 0]]
    assert np.argwhere(views).tolist() == [[0, 0], [1, 2], [2, 2]]


def test_histories_are_in_time_order_and_hold_known_items(tmp_path: Path) -> None:
    _, histories = snapshot_view(snapshot_of(tmp_path))

    zoe = histories["zoe"]
    assert list(histories) == ["adam", "zoe"]
    assert zoe.rows.tolist() == [0, 2, 0]
    assert zoe.types.tolist() == ["purchase", "view", "view"]
    assert (NOW - zoe.times).tolist() == [400 * DAY, 5 * DAY, 0]
    assert histories["adam"].of_type("view").tolist() == [2]


@pytest.mark.parametrize("user", ["", "bob", "zzz"])
def test_a_user_without_events_has_no_history(user: str, tmp_path: Path) -> None:
    _, histories = snapshot_view(snapshot_of(tmp_path))

    assert user not in histories
    with pytest.raises(KeyError):
        histories[user]


def test_an_empty_snapshot_gives_an_empty_view(tmp_path: Path) -> None:
    view, histories = snapshot_view(snapshot_of(tmp_path, items=False, events=False))

    assert len(view) == 0
    assert len(histories) == 0
    assert view.weighted_users_by_age().shape == (AGE_BUCKETS, 0)


def test_items_without_events_and_events_without_items_are_no_errors(tmp_path: Path) -> None:
    bare, nobody = snapshot_view(snapshot_of(tmp_path / "bare", events=False))
    empty, histories = snapshot_view(snapshot_of(tmp_path / "empty", items=False))

    assert (len(bare), len(nobody)) == (3, 0)
    assert len(empty) == 0
    assert [len(history) for history in histories.values()] == [0, 0]
