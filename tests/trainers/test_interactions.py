from pathlib import Path

import numpy as np
import pytest

from endcap.sdk.errors import InvalidInput
from endcap.sdk.snapshot import event_schema, item_schema, user_schema, write_snapshot
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


def test_purchases_are_the_choices_where_there_are_any() -> None:
    found = interactions(("ann", "tea", "view"), ("ann", "mug", "purchase"))

    assert found.choices.rows.tolist() == [0]


def test_all_events_are_choices_where_nobody_bought() -> None:
    found = interactions(("ann", "tea", "view"), ("ann", "mug", "click"))

    assert found.choices.rows.tolist() == [1, 0]


def test_the_matrix_counts_nobody_twice() -> None:
    found = interactions(("ann", "tea", "purchase"), ("ann", "tea", "purchase"), ("bob", "mug", "purchase"))

    assert found.matrix().toarray().tolist() == [[0, 1], [1, 0]]
    assert found.matrix().dtype == np.float32


def test_a_snapshot_without_events_is_refused(tmp_path: Path) -> None:
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
