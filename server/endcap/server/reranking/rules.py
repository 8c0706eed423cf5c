"""The rules of a placement, compiled: they re-rank candidates into a page."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.configuration.rules import Rule
from endcap.sdk.filters import Filter
from endcap.server.reranking.boosts import Bias, Boost, Fatigue
from endcap.server.reranking.parts import Cap, Pin, Quota, SimilarityDiversity, Window
from endcap.server.reranking.placing import FilledPage, fill
from endcap.server.reranking.ranked import RankedCandidates, RerankContext, ScoredCandidates


Reranking: TypeAlias = Boost | Bias | Fatigue | Window | SimilarityDiversity | Cap | Quota | Pin
"""The effect of a rule on a page."""


@dataclass(frozen=True, slots=True, eq=False)
class RequiredCandidates:
    """Rows that the candidates should hold beside the best items, because a rule asks for them."""

    rows: NDArray[np.bool_]
    """The rows of the view that the rule asks for."""

    count: int
    """How many of them, the best first."""

    others: int
    """How many other rows may be shown."""

    is_hard: bool
    """Whether lower strategies of the ladder are asked too, where higher ones know too few such rows."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its filter parsed and its attribute found."""

    rule: Rule
    action: Filter | Reranking


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """The outcome of one rule."""

    name: str

    counts: Mapping[str, int]
    """How many items, by what the rule did to them:

    - ``filtered``: left out before any was ranked
    - ``lifted``, ``buried``: candidates moved up and down by boosts, biases and fatigue
    - ``crowded``: placed though a diversity rule asks for one less alike, for want of such a candidate
    - ``capped``: candidates that a cap keeps off the page
    - ``reserved``, ``placed``: places of a quota, and items on the page that match it
    - ``pinned``: placed by a pin, at its position or, on a shorter page, at the end
    """


@dataclass(frozen=True, slots=True, eq=False)
class Reranked:
    """A page, re-ranked."""

    order: NDArray[np.int64]
    """Positions into the candidates, the best first; at most a page."""

    pinned: NDArray[np.bool_]
    """For each place of ``order``, whether a pin put the item there."""

    open: NDArray[np.bool_] | None
    """Of a short page, the rows of the view that caps and groups would let in at the next place; none of
    them is left among the candidates. None where every row would be, and of a full page."""

    outcomes: tuple[RuleOutcome, ...]
    """The outcome of each rule, in the order applied."""


@dataclass(frozen=True)
class Rules:
    """The rules of a placement; ``compile_rules`` makes them."""

    compiled: tuple[CompiledRule, ...]
    """In the order in which they run."""

    def at(self, time: int) -> "Rules":
        """Return the rules that are in force at a moment, in Unix milliseconds."""
        in_force = tuple(compiled for compiled in self.compiled if compiled.rule.applies(time))
        return self if len(in_force) == len(self.compiled) else replace(self, compiled=in_force)

    @cached_property
    def filters(self) -> Mapping[str, Filter]:
        """The filters that every item must match, by the rule's name; eligibility applies them."""
        return {
            compiled.rule.name: compiled.action
            for compiled in self.compiled
            if isinstance(compiled.action, Filter)
        }

    @cached_property
    def conditions(self) -> tuple[Filter, ...]:
        """Every filter that a rule names, for whatever purpose."""
        conditions: list[Filter] = []
        for compiled in self.compiled:
            match compiled.action:
                case (
                    (Filter() as condition)
                    | Boost(filter=condition)
                    | Quota(filter=condition)
                    | Pin(target=Filter() as condition)
                ):
                    conditions.append(condition)
        return tuple(conditions)

    @cached_property
    def needs_exposures(self) -> int:
        """The longest time that a rule looks back on what was shown, in milliseconds; 0 for not at all."""
        return max((rule.window for rule in self._reranking.values() if isinstance(rule, Fatigue)), default=0)

    @cached_property
    def reranks(self) -> bool:
        """Whether there is more to do than to keep one item of each group."""
        return bool(self._reranking)

    @cached_property
    def weighs_similarity(self) -> bool:
        """Whether a rule compares the words of items, which takes milliseconds rather than microseconds."""
        return any(isinstance(rule, SimilarityDiversity) for rule in self._reranking.values())

    def pinned_ids(self, page_size: int) -> list[tuple[int, str]]:
        """Return the place, from 0, and the id of each item that a rule pins to a page of a size."""
        pins = [rule for rule in self._reranking.values() if isinstance(rule, Pin) and rule.place < page_size]
        return [(pin.place, pin.target) for pin in pins if isinstance(pin.target, str)]

    def required(self, context: RerankContext, allowed: NDArray[np.bool_]) -> list[RequiredCandidates]:
        """Return the candidates that rules require beside the best ones.

        Quotas and slots ask for what they place. A boost, a bias or fatigue asks for what it would have on
        the page, one more than fit: the worst of the candidates ties with the best one that is not lifted.

        Args:
            context: What the page is made for.
            allowed: The rows of the view that may be shown.
        """
        more_than_fit = context.page_size + 1
        places: Counter[Filter] = Counter()
        required: list[tuple[NDArray[np.bool_], int, bool]] = []
        for rule in self._reranking.values():
            match rule:
                case Quota(condition):
                    places[condition] += rule.count(context.page_size)
                case Pin(place, Filter() as condition) if place < context.page_size and context.first_page:
                    places[condition] += 1
                case Boost() | Bias() | Fatigue():
                    preferred = rule.preferred(context, allowed)
                    if preferred is not None:
                        required.append((preferred, more_than_fit, False))
        for condition, count in places.items():
            if count:
                required.append((context.mask(condition), min(count, more_than_fit), True))
        return [
            RequiredCandidates(rows, count, _count(allowed & ~rows), is_hard)
            for rows, count, is_hard in required
        ]

    def rerank(self, candidates: ScoredCandidates, context: RerankContext) -> Reranked:
        """Make a page of candidates: the same one whenever they are the same.

        Rules run in the order of ``endcap.v1.Rule``; ``placing`` describes how they interact. A page is short
        only when no candidate is left that caps and groups let in. Then rows that are ``open``, added in a
        tier above all others, make it longer: the items of the page stay, and the new ones follow. (A pin
        that finds its item only among the rows added, or that is nearer than it should be while a cap
        counts a stretch, may still shift what is on the page.)
        """
        relevance = candidates.scaled(candidates.scores)
        counts: dict[str, dict[str, int]] = {}
        for name, rule in self._reranking.items():
            if isinstance(rule, Boost | Bias | Fatigue):
                shift = rule.shift(candidates, context)
                relevance = relevance + shift
                counts[name] = {"lifted": _count(shift > 0), "buried": _count(shift < 0)}
        ranking = RankedCandidates(candidates, relevance, context)
        page = fill(ranking, self._reranking)
        for name, rule in self._reranking.items():
            match rule:
                case Window() | SimilarityDiversity():
                    counts[name] = {"crowded": page.crowded.get(name, 0)}
                case Cap():
                    counts[name] = {"capped": page.capped(name)}
                case Quota(filter=condition):
                    placed = _count(ranking.matching(condition)[page.indices])
                    counts[name] = {"reserved": rule.count(context.page_size), "placed": placed}
                case Pin():
                    counts[name] = {"pinned": list(page.pins.values()).count(name)}
        return Reranked(
            order=ranking.positions[page.indices],
            pinned=np.array([index in page.pins for index in page.indices], np.bool_),
            open=_open(ranking, page) if len(page.indices) < context.page_size else None,
            outcomes=tuple(RuleOutcome(name, counts[name]) for name in self._reranking),
        )

    @cached_property
    def _reranking(self) -> Mapping[str, Reranking]:
        """The rules that re-rank, by their names, in the order applied."""
        return {
            compiled.rule.name: compiled.action
            for compiled in self.compiled
            if not isinstance(compiled.action, Filter)
        }


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _open(ranking: RankedCandidates, page: FilledPage) -> NDArray[np.bool_] | None:
    view = ranking.context.view
    if not view.has_groups and not page.caps:
        return None
    shown = np.zeros(len(view), np.bool_)
    shown[ranking.groups[page.indices]] = True
    rows: NDArray[np.bool_] = ~shown[view.groups]
    for cap in page.caps.values():
        rows &= ~cap.full_rows(len(page.indices))
    return rows
