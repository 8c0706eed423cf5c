"""The rules of a placement, compiled, and what they make of candidates."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.catalog.rules import Rule
from endcap.sdk import Rows
from endcap.sdk.filters import Filter
from endcap.server.rules.attributes import Attribute
from endcap.server.rules.boosts import Bias, Boost, Fatigue
from endcap.server.rules.outcomes import RuleOutcome, outcome
from endcap.server.rules.page import Crowded, Page, fill
from endcap.server.rules.parts import Cap, Likeness, Pin, Quota, Window
from endcap.server.rules.pool import Candidates, Context, Pool, Ranking


_KINDS = (Attribute("brand"), Attribute("categories"))
"""Where items differ in both, their words do too."""

Arranging: TypeAlias = Boost | Bias | Fatigue | Window | Likeness | Cap | Quota | Pin
"""What a rule does to a page."""


@dataclass(frozen=True, slots=True)
class NamedFilter:
    """A filter that a rule asks for."""

    name: str
    filter: Filter


@dataclass(frozen=True, slots=True)
class Want:
    """What a pool should hold beside the best items, so that a rule finds what it asks for."""

    count: int
    """How many items, the best first."""

    filter: Filter | None = None
    """What they match; None where ``item_id`` says which."""

    item_id: str = ""

    required: bool = False
    """Whether strategies further down the ladder are asked too, where those above know too few."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with its filter parsed and its attribute found."""

    rule: Rule
    action: Filter | Arranging


@dataclass(frozen=True, eq=False)
class Arranged:
    """A page, arranged."""

    order: NDArray[np.int64]
    """Positions into the candidates, the best first; at most a page."""

    pinned: NDArray[np.bool_]
    """For each place of ``order``, whether a pin put the item there."""

    open: NDArray[np.bool_] | None
    """Of a short page, the rows of the view that caps and groups would let in at the next place; none of
    them is left among the candidates. None where every row would be, and of a full page."""

    crowded: Crowded | None
    """Where diversity lacks items, and which rows of the view it lacks; None where it lacks none."""

    _explain: Callable[[], tuple[RuleOutcome, ...]]

    @cached_property
    def outcomes(self) -> tuple[RuleOutcome, ...]:
        """What each rule did, in the order applied; worked out when first read, by filling a page a rule."""
        return self._explain()


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
    def filters(self) -> tuple[NamedFilter, ...]:
        """What every item must match; whoever decides what is eligible applies them."""
        return tuple(
            NamedFilter(compiled.rule.name, compiled.action)
            for compiled in self.compiled
            if isinstance(compiled.action, Filter)
        )

    @cached_property
    def conditions(self) -> tuple[Filter, ...]:
        """Every filter that a rule names, whatever it does with what matches."""
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
        return max((rule.window for _, rule in self._arranging if isinstance(rule, Fatigue)), default=0)

    @cached_property
    def rearranges(self) -> bool:
        """Whether there is more to do than to keep one item of each group."""
        return bool(self._arranging)

    def wants(self, page_size: int) -> tuple[Want, ...]:
        """Return what candidates should hold beside the best ones, for a page of a size."""
        counts: dict[Filter | str, int] = {}
        required: set[Filter | str] = set()
        for _, rule in self._arranging:
            match rule:
                case Boost(filter_, strength) if strength > 0:
                    # One more than fit, for the worst of a pool ties with the best one that is not lifted.
                    counts[filter_] = page_size + 1
                case Quota(filter_):
                    counts[filter_] = counts.get(filter_, 0) + rule.count(page_size)
                    required.add(filter_)
                case Pin(place, target) if place < page_size:
                    counts[target] = counts.get(target, 0) + 1
                    required.add(target)
        return tuple(
            Want(
                min(count, page_size + 1),
                filter=None if isinstance(wanted, str) else wanted,
                item_id=wanted if isinstance(wanted, str) else "",
                required=wanted in required,
            )
            for wanted, count in counts.items()
            if count
        )

    def preferred(self, context: Context, rows: Rows) -> list[NDArray[np.bool_]]:
        """Return for each boost, bias and fatigue the rows of the view that it would have on the page.

        A pool should hold more than a page of each. What positive boosts lift is told by ``wants``.

        Args:
            context: What the page is made for.
            rows: Those that may be shown.
        """
        shifts = [rule for _, rule in self._arranging if isinstance(rule, Boost | Bias | Fatigue)]
        preferred = [rule.preferred(context, rows) for rule in shifts]
        return [mask for mask in preferred if mask is not None]

    def arrange(self, candidates: Candidates, context: Context) -> Arranged:
        """Make a page of candidates: the same one whenever they are the same.

        Rules run in the order of ``endcap.v1.Rule``; ``page`` tells how they meet. A page is short only
        when no candidate is left that caps and groups let in. Then rows that are ``open``, added with a
        rung above all others, make it longer: what stood on the page stays, and they follow. (A pin that
        finds its item only among the rows added, or that stands nearer than it should while a cap
        counts a stretch, may still shift what is on the page.)
        """
        pool = Pool(candidates, context)
        ranking, page = _page(pool, [rule for _, rule in self._arranging])
        indices = list(page.indices)
        return Arranged(
            order=ranking.positions[indices],
            pinned=np.array([index in page.pins for index in indices], np.bool_),
            open=_open(ranking, page) if len(indices) < context.page_size else None,
            crowded=page.crowded or _uniform(pool, [rule for _, rule in self._arranging]),
            _explain=lambda: self._outcomes(pool),
        )

    @cached_property
    def _arranging(self) -> tuple[tuple[str, Arranging], ...]:
        return tuple(
            (compiled.rule.name, compiled.action)
            for compiled in self.compiled
            if not isinstance(compiled.action, Filter)
        )

    def _outcomes(self, pool: Pool) -> tuple[RuleOutcome, ...]:
        outcomes: list[RuleOutcome] = []
        so_far: list[Arranging] = []
        ranking, page = _page(pool, so_far)
        for name, rule in self._arranging:
            before = ranking.positions[list(page.indices)].tolist()
            so_far.append(rule)
            ranking, page = _page(pool, so_far)
            outcomes.append(outcome(name, rule, ranking, before, page))
        return tuple(outcomes)


def _page(pool: Pool, rules: list[Arranging]) -> tuple[Ranking, Page]:
    relevance = pool.relevance
    for rule in rules:
        if isinstance(rule, Boost | Bias | Fatigue):
            relevance = relevance + rule.shift(pool)
    ranking = Ranking(pool, relevance)
    return ranking, fill(ranking, rules)


def _uniform(pool: Pool, rules: list[Arranging]) -> Crowded | None:
    """Return what likeness lacks in a pool of fewer brands or categories than a page has places."""
    if not len(pool) or not any(isinstance(rule, Likeness) and rule.level for rule in rules):
        return None
    view = pool.context.view
    unlike = np.zeros(len(view), np.bool_)
    for attribute in _KINDS:
        values = np.unique(attribute.values(view, pool.candidates.rows)[0])
        if len(values) < pool.context.page_size:
            unlike |= attribute.known(view) & ~attribute.holding(view, values.tolist())
    return Crowded(None, unlike)


def _open(ranking: Ranking, page: Page) -> NDArray[np.bool_] | None:
    view = ranking.pool.context.view
    if not view.has_groups and not page.caps:
        return None
    shown = np.zeros(len(view), np.bool_)
    shown[ranking.groups[list(page.indices)]] = True
    rows: NDArray[np.bool_] = ~shown[view.groups]
    for cap in page.caps:
        rows &= ~cap.full_rows(len(page.indices))
    return rows
