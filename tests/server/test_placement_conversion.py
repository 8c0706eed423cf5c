"""Placements between the wire and the store: nothing is lost, and what is wrong is named by its path."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from hypothesis import given
from hypothesis import strategies as st

from endcap.catalog.configuration.placements import Placement, RungSpec
from endcap.catalog.configuration.rules import (
    Action,
    BiasRule,
    BiasTarget,
    BoostRule,
    CapRule,
    DiversityMethod,
    DiversityRule,
    FatigueRule,
    FilterRule,
    PinRule,
    QuotaRule,
    Rule,
)
from endcap.sdk import Task
from endcap.sdk.errors import InvalidInput, Unsupported
from endcap.server.api.convert.placements import read_placement, read_update, write_placement
from endcap.v1 import placement_pb2


DAY = 86_400_000
SHELF: dict[str, Any] = {"id": "shelf", "task": "TASK_FOR_YOU", "ladder": [{"strategy": "popular"}]}


def shelf(**fields: Any) -> placement_pb2.Placement:
    return ParseDict({**SHELF, **fields}, placement_pb2.Placement())


def rule(**action: Any) -> placement_pb2.Placement:
    return shelf(rules=[{"name": "r", **action}])


_strengths = st.floats(-1, 1)
_shares = st.floats(0.001, 1)
_texts = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=9)
_actions: st.SearchStrategy[Action] = st.one_of(
    st.builds(FilterRule, _texts),
    st.builds(BoostRule, _texts, _strengths),
    st.builds(BiasRule, st.sampled_from(BiasTarget), _strengths),
    st.builds(FatigueRule, st.integers(1, 1000), st.integers(1, 90 * DAY), _shares),
    st.builds(DiversityRule, st.sampled_from(DiversityMethod), _shares, _texts, st.integers(2, 100)),
    st.builds(CapRule, _texts, st.integers(1, 100), st.none() | st.integers(2, 100)),
    st.builds(QuotaRule, _texts, _shares),
    st.builds(PinRule, st.integers(1, 100), _texts),
    st.builds(PinRule, st.integers(1, 100), filter=_texts),
)
_starts = st.none() | st.integers(0, 4_000_000_000_000)
_rules = st.builds(Rule, _texts, _actions, st.booleans(), _starts, st.none() | st.just(4_000_000_000_001))
_rungs = st.builds(
    RungSpec,
    _texts,
    st.dictionaries(_texts, st.booleans() | st.floats(-9, 9) | _texts, max_size=3),
    st.none() | st.integers(1, 10_000),
)
_placements = st.builds(
    Placement,
    st.from_regex(r"[a-z][a-z0-9_-]{0,127}", fullmatch=True),
    st.sampled_from(Task),
    st.lists(_rungs, min_size=1, max_size=8).map(tuple),
    st.just("") | _texts,
    st.booleans(),
    st.lists(_texts, min_size=1, max_size=3, unique=True).map(tuple),
    st.none() | st.integers(1, 400 * DAY),
    st.integers(1, 100),
    st.text(max_size=20),
    st.lists(_rules, max_size=5, unique_by=lambda each: each.name).map(tuple),
)


@given(_placements)
def test_a_placement_is_the_same_after_the_wire(placement: Placement) -> None:
    assert read_placement(write_placement(placement)) == placement


def test_what_is_left_out_has_the_defaults_of_the_contract() -> None:
    placement = read_placement(
        shelf(
            rules=[
                {"name": "tired", "fatigue": {}},
                {"name": "mixed", "diversity": {"attribute": "brand"}},
                {"name": "few", "cap": {"attribute": "brand", "maximum_count": 2}},
            ]
        )
    )

    assert placement == Placement(
        "shelf",
        Task.FOR_YOU,
        (RungSpec("popular"),),
        exclude_seen=True,
        seen_types=("purchase",),
        page_size=10,
        rules=(
            Rule("tired", FatigueRule(exposure_count=3, window=7 * DAY, strength=0.5)),
            Rule("mixed", DiversityRule(DiversityMethod.WINDOW, 0.3, "brand", window=3)),
            Rule("few", CapRule("brand", 2, window=None)),
        ),
    )


@pytest.mark.parametrize(
    ("task", "excludes"),
    [("TASK_FOR_YOU", True), ("TASK_SEARCH", False), ("TASK_RANK", False), ("TASK_RECENTLY_VIEWED", False)],
)
def test_seen_items_are_left_out_as_the_task_says_unless_told_otherwise(task: str, excludes: bool) -> None:
    modes = ("SEEN_MODE_UNSPECIFIED", "SEEN_MODE_EXCLUDE", "SEEN_MODE_INCLUDE")

    read = [read_placement(shelf(task=task, seen={"mode": mode})).exclude_seen for mode in modes]

    assert read == [excludes, True, False]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (shelf(id=""), "id"),
        (shelf(id="Home"), "id"),
        (shelf(id="1st"), "id"),
        (shelf(id="x" * 129), "id"),
        (shelf(id="home\n"), "id"),
        (shelf(task=0), "task"),
        (shelf(task=99), "task"),
        (shelf(display_name="x" * 129), "display_name"),
        (shelf(display_name="a\x00b"), "display_name"),
        (shelf(ladder=[]), "ladder"),
        (shelf(ladder=[{"strategy": "popular"}] * 9), "ladder"),
        (shelf(ladder=[{"strategy": ""}]), "ladder[0].strategy"),
        (shelf(ladder=[{"strategy": "x" * 65}]), "ladder[0].strategy"),
        (shelf(ladder=[{"strategy": "popular", "timeout": "0s"}]), "ladder[0].timeout"),
        (shelf(ladder=[{"strategy": "popular", "timeout": "-1s"}]), "ladder[0].timeout"),
        (shelf(ladder=[{"strategy": "popular", "timeout": "10.001s"}]), "ladder[0].timeout"),
        (shelf(ladder=[*SHELF["ladder"], {"strategy": "e", "parameters": {"x": "y" * 16384}}]),
         "ladder[1].parameters"),
        (shelf(ladder=[{"strategy": "e", "parameters": {"a": [[[[[[[[1]]]]]]]]}}]), "ladder[0].parameters"),
        (shelf(ladder=[{"strategy": "e", "parameters": {"a": "b\0"}}]), "ladder[0].parameters"),
        (shelf(seen={"mode": 3}), "seen.mode"),
        (shelf(seen={"event_types": ["view"] * 17}), "seen.event_types"),
        (shelf(seen={"event_types": ["view", ""]}), "seen.event_types[1]"),
        (shelf(seen={"event_types": ["x" * 65]}), "seen.event_types[0]"),
        (shelf(seen={"window": "0s"}), "seen.window"),
        (shelf(page_size=-1), "page_size"),
        (shelf(page_size=101), "page_size"),
        (shelf(filter="x" * 4097), "filter"),
        (shelf(etag="1" * 129), "etag"),
        (shelf(exploration={"temperature": -0.1}), "exploration.temperature"),
        (shelf(exploration={"temperature": 10.1}), "exploration.temperature"),
        (shelf(exploration={"temperature": "NaN"}), "exploration.temperature"),
        (shelf(exploration={"newItemShare": 0.51}), "exploration.new_item_share"),
        (shelf(exploration={"floor": 1.01}), "exploration.floor"),
        (shelf(rules=[{"name": str(number), "filter": {"filter": "a"}} for number in range(65)]), "rules"),
        (shelf(rules=[{"name": "", "filter": {"filter": "a"}}]), "rules[0].name"),
        (shelf(rules=[{"name": "x" * 65, "filter": {"filter": "a"}}]), "rules[0].name"),
        (shelf(rules=[{"name": "a", "filter": {"filter": "a"}}] * 2), "rules[1].name"),
        (rule(), "rules[0]"),
        (rule(filter={}), "rules[0].filter.filter"),
        (rule(filter={"filter": " "}), "rules[0].filter.filter"),
        (rule(filter={"filter": "x" * 4097}), "rules[0].filter.filter"),
        (rule(boost={"strength": 1}), "rules[0].boost.filter"),
        (rule(boost={"filter": "a", "strength": 1.01}), "rules[0].boost.strength"),
        (rule(boost={"filter": "a", "strength": "NaN"}), "rules[0].boost.strength"),
        (rule(boost={"filter": "a", "strength": "-Infinity"}), "rules[0].boost.strength"),
        (rule(bias={"strength": 1}), "rules[0].bias.target"),
        (rule(bias={"target": 4, "strength": 1}), "rules[0].bias.target"),
        (rule(bias={"target": 1, "strength": -2}), "rules[0].bias.strength"),
        (rule(fatigue={"exposure_count": 1001}), "rules[0].fatigue.exposure_count"),
        (rule(fatigue={"exposure_count": -1}), "rules[0].fatigue.exposure_count"),
        (rule(fatigue={"window": f"{90 * 86_400 + 1}s"}), "rules[0].fatigue.window"),
        (rule(fatigue={"strength": -0.5}), "rules[0].fatigue.strength"),
        (rule(diversity={}), "rules[0].diversity.attribute"),
        (rule(diversity={"method": 9}), "rules[0].diversity.method"),
        (rule(diversity={"method": 2, "level": 1.1}), "rules[0].diversity.level"),
        (rule(diversity={"attribute": "brand", "window": 1}), "rules[0].diversity.window"),
        (rule(cap={"maximum_count": 1}), "rules[0].cap.attribute"),
        (rule(cap={"attribute": "brand"}), "rules[0].cap.maximum_count"),
        (rule(cap={"attribute": "brand", "maximum_count": 1, "window": 101}), "rules[0].cap.window"),
        (rule(quota={"filter": "a"}), "rules[0].quota.share"),
        (rule(quota={"filter": "a", "share": 1.5}), "rules[0].quota.share"),
        (rule(quota={"share": 1}), "rules[0].quota.filter"),
        (rule(pin={"item_id": "mug"}), "rules[0].pin.position"),
        (rule(pin={"position": 101, "item_id": "mug"}), "rules[0].pin.position"),
        (rule(pin={"position": 1}), "rules[0].pin"),
        (rule(pin={"position": 1, "item_id": ""}), "rules[0].pin.item_id"),
        (rule(pin={"position": 1, "item_id": "x" * 129}), "rules[0].pin.item_id"),
        (rule(pin={"position": 1, "filter": ""}), "rules[0].pin.filter"),
        (rule(filter={"filter": "a"}, start_time="2026-01-02T00:00:00Z", end_time="2026-01-02T00:00:00Z"),
         "rules[0].end_time"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(message: placement_pb2.Placement, field: str) -> None:
    with pytest.raises(InvalidInput) as rejected:
        read_placement(message)

    assert rejected.value.field == f"placement.{field}"
    assert str(rejected.value).startswith(f"placement.{field} ")


def _with_impossible_time(message: placement_pb2.Placement) -> None:
    message.rules[0].start_time.seconds = 2**60


def _with_impossible_nanos(message: placement_pb2.Placement) -> None:
    message.rules[0].end_time.nanos = -1


def _with_impossible_window(message: placement_pb2.Placement) -> None:
    message.seen.window.seconds = 2**60


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (_with_impossible_time, "placement.rules[0].start_time"),
        (_with_impossible_nanos, "placement.rules[0].end_time"),
        (_with_impossible_window, "placement.seen.window"),
    ],
)
def test_times_that_json_cannot_write_are_rejected(
    spoil: Callable[[placement_pb2.Placement], None], field: str
) -> None:
    message = rule(filter={"filter": "a"})
    spoil(message)

    with pytest.raises(InvalidInput) as rejected:
        read_placement(message)

    assert rejected.value.field == field


def test_a_placement_that_explores_is_not_supported_yet_and_one_of_temperature_zero_does_not() -> None:
    still = read_placement(shelf(exploration={"temperature": 0}))

    assert still == read_placement(shelf())
    for name in ("temperature", "newItemShare", "floor"):
        with pytest.raises(Unsupported):
            read_placement(shelf(exploration={name: 0.5}))


def test_parameters_are_eight_levels_deep_at_most() -> None:
    nested = {"a": {"a": [[[[[[1]]]]]]}}

    placement = read_placement(shelf(ladder=[{"strategy": "ease", "parameters": nested}]))

    assert placement.ladder[0].parameters == nested


STORED = Placement(
    "shelf",
    Task.FOR_YOU,
    (RungSpec("ease"), RungSpec("popular")),
    "Shelf",
    seen_types=("view",),
    seen_window=DAY,
    page_size=4,
    rules=(Rule("first", PinRule(1, "mug")),),
    created_time=1,
    updated_time=2,
    revision=3,
)


@pytest.mark.parametrize(
    ("paths", "changed"),
    [
        ([], []),
        (["page_size"], ["page_size"]),
        (["display_name", "rules"], ["display_name", "rules"]),
        (["seen.window"], ["seen_window"]),
        (["seen"], ["seen_types", "seen_window"]),
        (["ladder"], ["ladder"]),
        (["id", "task", "create_time", "etag"], []),
    ],
)
def test_a_mask_writes_what_it_names_and_clears_what_is_not_set(paths: list[str], changed: list[str]) -> None:
    empty = shelf()

    merged = read_update(STORED, empty, FieldMask(paths=paths))

    defaults = read_placement(empty)
    for name in ("task", "ladder", "display_name", "seen_types", "seen_window", "page_size", "rules"):
        assert getattr(merged, name) == getattr(defaults if name in changed else STORED, name)


@pytest.mark.parametrize("path", ["", "name", "rules.name", "ladder[0]", "seen.", "seen.window.minutes", "*"])
def test_a_path_that_is_no_field_is_rejected(path: str) -> None:
    with pytest.raises(InvalidInput) as rejected:
        read_update(STORED, shelf(), FieldMask(paths=["rules", path]))

    assert rejected.value.field == "update_mask"
