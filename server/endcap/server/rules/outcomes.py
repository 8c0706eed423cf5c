"""What each rule did to a page, for the trace.

A rule's outcome is the difference between the page that the rules before it make and the page with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from endcap.sdk.vocabulary import UNKNOWN
from endcap.server.rules.boosts import Bias, Boost, Fatigue
from endcap.server.rules.limits import Limit
from endcap.server.rules.page import Page, pinnable
from endcap.server.rules.parts import Cap, Likeness, Pin, Quota, Window
from endcap.server.rules.pool import Ranking


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule did."""

    name: str

    changed: int
    """Items of the page that it moved, added or removed."""

    detail: str
    """In English."""


def outcome(name: str, rule: object, ranking: Ranking, before: Sequence[int], page: Page) -> RuleOutcome:
    """Tell what a rule did.

    Args:
        name: The rule's.
        rule: What it does.
        ranking: The pool, ranked with the rule.
        before: The page without the rule, as positions into the candidates.
        page: The page with it.
    """
    after = ranking.positions[list(page.indices)].tolist()
    places = {position: place for place, position in enumerate(before)}
    stayed = sum(places.get(position) == place for place, position in enumerate(after))
    added, removed = len(set(after) - set(before)), len(set(before) - set(after))
    moved = len(after) - added - stayed
    return RuleOutcome(
        name,
        changed=added + removed + moved,
        detail=f"{_detail(rule, ranking, page)}; {added} added to the page, {removed} removed, {moved} moved",
    )


def _detail(rule: object, ranking: Ranking, page: Page) -> str:
    match rule:
        case Boost() | Bias() | Fatigue():
            return rule.detail(ranking.pool)
        case Window(limit):
            return f"keeps items of one {limit.attribute.name} {limit.window} places apart, as far as it can"
        case Likeness(method, level):
            return f"gives up {level:.0%} of relevance for unlike items ({method.__name__.upper()})"
        case Cap(limit):
            return f"lets in {_stretch(limit)}"
        case Quota(filter_):
            matching = ranking.matching(filter_)
            reserved = rule.count(ranking.pool.context.page_size)
            placed = _count(matching[list(page.indices)])
            return f"reserves {reserved} places; {placed} of {_count(matching)} items that match are placed"
        case Pin():
            return _pinned(rule, ranking, page)
    raise TypeError(f"{type(rule).__name__} arranges nothing")


def _stretch(limit: Limit) -> str:
    where = "a page" if limit.window is None else f"any {limit.window} places"
    return f"{limit.maximum} items of one {limit.attribute.name} on {where}"


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _pinned(pin: Pin, ranking: Ranking, page: Page) -> str:
    context = ranking.pool.context
    if not context.first_page:
        return "does nothing, for pins hold on the first page only"
    if pin.place >= context.page_size:
        return f"does nothing, for position {pin.place + 1} is beyond the page"
    asked = pinnable(ranking, pin)
    standing = {place: index for index, place in page.pins.items()}
    index = standing.get(pin.place)
    if index is not None:
        return f"{_item(ranking, index)} stands at position {pin.place + 1}" if asked[index] else _taken(pin)
    if isinstance(pin.target, str) and not asked.any():
        known = context.view.vocabulary.row(pin.target) != UNKNOWN
        return f"{pin.target} is not pinned, for it is {'not eligible' if known else 'not in the catalog'}"
    moved = [place for index, place in page.pins.items() if asked[index]]
    if moved and len(page.indices) <= pin.place:
        return f"moves up to position {max(moved) + 1}, for the page ends there"
    return "pins nothing, for no item that may be on the page matches"


def _taken(pin: Pin) -> str:
    return f"does nothing, for another item is pinned at position {pin.place + 1}"


def _item(ranking: Ranking, index: int) -> str:
    item_id: str = ranking.pool.context.view.vocabulary.ids[int(ranking.rows[index])]
    return item_id
