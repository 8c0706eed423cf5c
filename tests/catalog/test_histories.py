"""Histories: what a person did, whoever the person was at the time."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from endcap.catalog.events.events import Event
from endcap.catalog.memory.histories import LENGTH, Histories
from endcap.catalog.memory.user_counts import sort_events
from endcap.sdk.query import History
from endcap.sdk.vocabulary import Vocabulary


MakeEvent = Callable[..., Event]

NOW = 1_700_000_000_000
VOCABULARY = Vocabulary(["mug", "kettle", "spoon"])
MUG, KETTLE, SPOON = range(3)


@pytest.fixture(params=["appended", "compacted"])
def settle(request: pytest.FixtureRequest) -> Callable[[Histories], None]:
    """Whether events are sorted in before they are asked for must not matter."""
    return _compact if request.param == "compacted" else lambda histories: None


def _compact(histories: Histories) -> None:
    histories.adopt(sort_events(histories.log()))


@pytest.fixture
def histories() -> Histories:
    return Histories(VOCABULARY)


def _told(history: History) -> list[tuple[int, str, int]]:
    columns = (history.rows.tolist(), history.types.tolist(), history.times.tolist())
    return list(zip(*columns, strict=True))


def test_a_history_is_in_the_order_of_time(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append([catalog_event("1", time=20), catalog_event("2", item_id="kettle", time=10)])
    settle(histories)
    histories.append([catalog_event("3", item_id="spoon", type="purchase", time=15)])

    assert _told(histories.of("ann")) == [(KETTLE, "view", 10), (SPOON, "purchase", 15), (MUG, "view", 20)]
    assert len(histories) == 3


def test_people_have_histories_of_their_own(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append(
        [
            catalog_event("1"),
            catalog_event("2", user_id="bob", item_id="kettle"),
            catalog_event("3", user_id=None, visitor_id="ann", item_id="spoon"),
        ]
    )
    settle(histories)

    assert histories.of("ann").rows.tolist() == [MUG]
    assert histories.of("bob").rows.tolist() == [KETTLE]
    assert histories.of(visitor_id="ann").rows.tolist() == [SPOON]


def test_a_history_has_ratings_and_quantities(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    """One item is not in the catalog yet, and the last rating has no value."""
    histories.append(
        [
            catalog_event("1", type="purchase", time=1, quantity=12.0),
            catalog_event("2", type="rating", time=2, value=4.5),
            catalog_event("3", type="purchase", time=3, item_id="new", quantity=3.0),
            catalog_event("4", user_id="bob", type="rating"),
        ]
    )
    settle(histories)
    histories.forget(["bob"], [])
    histories.follow(VOCABULARY.extended(["new"]))
    histories.append([catalog_event("5", type="rating", time=4)])

    np.testing.assert_array_equal(histories.of("ann").values, [12, 4.5, 3, np.nan])


def test_somebody_unknown_has_no_history(histories: Histories) -> None:
    for history in (histories.of("nobody"), histories.of(visitor_id="nobody"), histories.of()):
        assert _told(history) == []
    assert histories.seen("nobody").tolist() == []


def test_a_visitor_that_becomes_a_user_brings_its_past_along(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append(
        [
            catalog_event("1", user_id=None, visitor_id="phone", time=1),
            catalog_event("2", item_id="kettle", time=2),
            catalog_event("3", item_id="spoon", visitor_id="phone", time=3),
            catalog_event("4", user_id=None, visitor_id="phone", time=4),
        ]
    )
    settle(histories)

    for history in (histories.of("ann"), histories.of(visitor_id="phone"), histories.of("ann", "phone")):
        assert history.rows.tolist() == [MUG, KETTLE, SPOON, MUG]


def test_a_visitor_that_is_not_linked_yet_counts_for_the_user_of_the_call(
    histories: Histories, catalog_event: MakeEvent
) -> None:
    histories.append(
        [
            catalog_event("1", user_id=None, visitor_id="phone", time=1),
            catalog_event("2", item_id="kettle", time=2),
            catalog_event("3", user_id="bob", visitor_id="tablet", item_id="spoon", time=3),
        ]
    )

    assert histories.of("ann", "phone").rows.tolist() == [MUG, KETTLE]
    assert histories.of("new", "phone").rows.tolist() == [MUG]
    assert histories.of("ann", "tablet").rows.tolist() == [KETTLE]


def test_a_new_link_takes_a_visitor_from_the_user_before(
    histories: Histories, catalog_event: MakeEvent
) -> None:
    histories.append([catalog_event("1", user_id=None, visitor_id="phone")])

    histories.link("phone", "ann")
    histories.link("phone", "bob")

    assert histories.of("ann").rows.tolist() == []
    assert histories.of("bob").rows.tolist() == [MUG]


def test_only_the_newest_events_make_the_history_and_all_of_them_count_as_seen(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append([catalog_event("0", item_id="spoon", type="purchase", time=0)])
    histories.append(catalog_event(str(number), time=number) for number in range(1, LENGTH + 1))
    settle(histories)

    assert histories.of("ann").times.tolist() == list(range(1, LENGTH + 1))
    assert histories.seen("ann").tolist() == [SPOON]


def test_what_makes_an_item_seen_can_be_chosen(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append(
        [
            catalog_event("1", type="purchase", item_id="spoon", time=1),
            catalog_event("2", type="purchase", item_id="kettle", time=5),
            catalog_event("3", type="purchase", item_id="kettle", time=6),
            catalog_event("4", type="view", time=7),
        ]
    )
    settle(histories)

    assert histories.seen("ann").tolist() == [KETTLE, SPOON]
    assert histories.seen("ann", since=5).tolist() == [KETTLE]
    assert histories.seen("ann", types=("view", "never")).tolist() == [MUG]


def test_events_of_unknown_items_wait_and_still_link(histories: Histories, catalog_event: MakeEvent) -> None:
    histories.append(
        [
            catalog_event("1", user_id=None, visitor_id="phone"),
            catalog_event("2", visitor_id="phone", item_id="not there yet", type="purchase", time=NOW + 1),
        ]
    )
    known_before = histories.of("ann").rows.tolist()

    histories.follow(VOCABULARY.extended(["new", "not there yet"]))
    histories.append([catalog_event("3", item_id="not there yet", time=NOW + 2)])

    later = histories.of("ann")
    assert known_before == [MUG]
    assert later.rows.tolist() == [MUG, len(VOCABULARY) + 1, len(VOCABULARY) + 1]
    assert later.types.tolist() == ["view", "purchase", "view"]
    assert later.times.tolist() == [NOW, NOW + 1, NOW + 2]
    assert histories.seen("ann").tolist() == [len(VOCABULARY) + 1]


def test_columns_count_a_linked_visitor_as_its_user(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append(
        [
            catalog_event("1", user_id=None, visitor_id="phone", time=3),
            catalog_event("2", item_id="kettle", time=4),
            catalog_event("3", user_id="bob", item_id="spoon", type="purchase", time=5),
        ]
    )
    histories.link("phone", "ann")
    settle(histories)

    log = histories.log()
    events = log.sorted + log.recent

    by_row = np.argsort(events.rows)
    assert [log.type_names[code] for code in events.types[by_row]] == ["view", "view", "purchase"]
    assert events.times[by_row].tolist() == [3, 4, 5]
    mug, kettle, spoon = log.users[events.people[by_row]].tolist()
    assert mug == kettle != spoon


def test_it_says_who_is_missing_and_who_is_linked(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append(
        [
            catalog_event("1", visitor_id="phone"),
            catalog_event("2", item_id="not there yet", user_id="bob"),
            catalog_event("3", user_id=None, visitor_id="tablet"),
        ]
    )
    settle(histories)

    assert {"ann", "bob", "cid", "phone"} - histories.users.keys() == {"cid", "phone"}
    assert {"phone", "tablet", "ann"} - histories.visitors.keys() == {"ann"}
    pairs = [("phone", "ann"), ("phone", "bob"), ("tablet", "ann"), ("phone", "cid"), ("laptop", "ann")]
    assert [histories.is_linked(*pair) for pair in pairs] == [True, False, False, False, False]


def test_a_revision_is_added_once_and_in_any_order(histories: Histories, catalog_event: MakeEvent) -> None:
    histories.reach(5)

    for revision in (5, 7, 7, 6, 9, 6):
        histories.apply([catalog_event(str(revision), time=revision)], revision)

    assert histories.of("ann").times.tolist() == [6, 7, 9]
    assert histories.revision == 7
    histories.reach(8)
    histories.apply([catalog_event("9", time=9)], 9)
    assert histories.of("ann").times.tolist() == [6, 7, 9]


def test_somebody_who_is_forgotten_leaves_no_event_and_no_name(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append(
        [
            catalog_event("1", user_id="bob", item_id="spoon", time=1),
            catalog_event("2", visitor_id="phone", time=2),
            catalog_event("3", user_id=None, visitor_id="phone", item_id="kettle", time=3),
            catalog_event("4", item_id="not there yet", time=4),
            catalog_event("5", user_id="bob", item_id="not there yet", time=5),
        ]
    )
    settle(histories)
    histories.append([catalog_event("6", time=6), catalog_event("7", user_id="bob", time=7)])

    histories.forget(["ann", "nobody"], ["phone"])
    histories.follow(VOCABULARY.extended(["not there yet"]))

    assert histories.of("ann").rows.tolist() == histories.of(visitor_id="phone").rows.tolist() == []
    assert _told(histories.of("bob")) == [(SPOON, "view", 1), (len(VOCABULARY), "view", 5), (MUG, "view", 7)]
    log = histories.log()
    assert sorted((log.sorted + log.recent).times.tolist()) == [1, 5, 7]
    histories.append([catalog_event("8", visitor_id="phone", time=8)])
    _compact(histories)
    assert histories.of("ann").times.tolist() == histories.of(visitor_id="phone").times.tolist() == [8]
    log = histories.log()
    assert len(set(log.users[log.sorted.people].tolist())) == 2


def test_an_event_without_an_item_only_links_its_visitor_to_its_user(
    histories: Histories, settle: Callable[[Histories], None], catalog_event: MakeEvent
) -> None:
    histories.append([catalog_event("1", user_id=None, visitor_id="phone")])
    histories.append([catalog_event("2", type="search", item_id="", visitor_id="phone")])
    settle(histories)

    assert _told(histories.of("ann")) == [(MUG, "view", NOW)]
    assert len(histories) == 1


@pytest.mark.parametrize("item_id", ["mug", "not there"])
def test_one_of_several_events_alike_goes_when_it_is_taken_back(
    histories: Histories,
    settle: Callable[[Histories], None],
    catalog_event: MakeEvent,
    item_id: str,
) -> None:
    bought = catalog_event("1", type="purchase", item_id=item_id)
    histories.apply([bought, replace(bought, event_id="2"), catalog_event("3", item_id="kettle")], 1)
    settle(histories)

    histories.apply([replace(bought, reversed_revision=2)], 2)
    histories.apply([replace(bought, user_id="nobody", reversed_revision=3)], 3)
    histories.follow(Vocabulary([*VOCABULARY.ids, "not there"]))

    assert sorted(histories.of("ann").types.tolist()) == ["purchase", "view"]
    assert len(histories) == 2
    assert len(histories.seen("ann")) == 1
    _compact(histories)
    assert len(histories.of("ann").rows) == len(histories) == 2


def test_an_event_is_taken_back_once_the_revisions_before_are_there(
    histories: Histories, catalog_event: MakeEvent
) -> None:
    bought = catalog_event("1", type="purchase")

    histories.apply([replace(bought, reversed_revision=2)], 2)
    histories.apply([bought], 1)

    assert len(histories) == len(histories.of("ann").rows) == 0


def test_what_is_taken_back_while_events_are_sorted_stays_away(
    histories: Histories, catalog_event: MakeEvent
) -> None:
    sorted_in = catalog_event("1", type="purchase")
    waiting = [catalog_event("2", item_id="kettle"), catalog_event("3", item_id="kettle")]
    histories.apply([sorted_in], 1)
    _compact(histories)
    histories.apply(waiting[:1], 2)
    log = histories.log()
    histories.apply([waiting[1], catalog_event("4", item_id="spoon")], 3)
    histories.apply([replace(sorted_in, reversed_revision=4), replace(waiting[1], reversed_revision=4)], 4)

    assert histories.adopt(sort_events(log))

    assert sorted(histories.of("ann").rows.tolist()) == [KETTLE, SPOON]
    _compact(histories)
    assert sorted(histories.of("ann").rows.tolist()) == [KETTLE, SPOON]


def test_a_person_is_forgotten_beside_another_whose_event_was_taken_back(
    histories: Histories, catalog_event: MakeEvent
) -> None:
    people = ["ann", "ben", "cem"]
    histories.apply([catalog_event(each, user_id=each) for each in people], 1)
    histories.apply([catalog_event("more", user_id="ben", item_id="kettle")], 2)
    _compact(histories)
    histories.apply([catalog_event("ben", user_id="ben", reversed_revision=3)], 3)

    histories.forget(["ann"], [])

    assert [histories.of(each).rows.tolist() for each in people] == [[], [KETTLE], [MUG]]
