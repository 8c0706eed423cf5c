"""Compiles rules: parses filters, finds attributes and checks the range of every number."""

from collections.abc import Collection, Sequence

from endcap.catalog.configuration.rules import (
    Action,
    BiasRule,
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
from endcap.catalog.fields.limits import LIMITS, MAX_FATIGUE_EXPOSURES, MAX_FATIGUE_WINDOW, MAX_PAGE_SIZE
from endcap.sdk.errors import InvalidInput
from endcap.sdk.filters import Filter, parse_filter
from endcap.server.reranking.attributes import Attribute
from endcap.server.reranking.boosts import Bias, Boost, Fatigue
from endcap.server.reranking.caps import Limit
from endcap.server.reranking.diversity import Dpp, Mmr
from endcap.server.reranking.parts import Cap, Pin, Quota, SimilarityDiversity, Window
from endcap.server.reranking.rules import CompiledRule, Reranking, Rules


def compile_rules(rules: Sequence[Rule]) -> Rules:
    """Compile the rules of a placement, disabled ones and those of other times included.

    Raises:
        InvalidInput: A rule could never run, or two have one name; the message names the rule.
    """
    compiled: list[CompiledRule] = []
    for rule in rules:
        try:
            compiled.append(_compiled(rule, taken={each.rule.name for each in compiled}))
        except InvalidInput as error:
            raise InvalidInput(f'rule "{rule.name[: LIMITS["rule"]]}": {error}', field="rules") from None
    # The sort is stable: rules of one kind stay in the order of the list.
    compiled.sort(key=lambda each: 0 if isinstance(each.action, Filter) else each.action.order)
    return Rules(tuple(compiled))


def _compiled(rule: Rule, *, taken: Collection[str]) -> CompiledRule:
    if rule.name in taken:
        raise InvalidInput("the name is used twice; give each rule its own")
    _within("the length of the name", len(rule.name), 1, LIMITS["rule"])
    if rule.start_time is not None and rule.end_time is not None and rule.end_time <= rule.start_time:
        raise InvalidInput("it ends before it starts; let end_time be later than start_time")
    return CompiledRule(rule, _action(rule.action))


def _action(action: Action) -> Filter | Reranking:
    compiled: Filter | Reranking
    match action:
        case FilterRule():
            compiled = _filter(action.filter)
        case BoostRule():
            _within("strength", action.strength, -1, 1)
            compiled = Boost(_filter(action.filter), action.strength)
        case BiasRule():
            _within("strength", action.strength, -1, 1)
            compiled = Bias(action.target, action.strength)
        case FatigueRule():
            _within("exposure_count", action.exposure_count, 1, MAX_FATIGUE_EXPOSURES)
            _within("window in milliseconds", action.window, 1, MAX_FATIGUE_WINDOW)
            _within("strength", action.strength, 0, 1)
            compiled = Fatigue(action.exposure_count, action.window, action.strength)
        case DiversityRule():
            compiled = _diversity(action)
        case CapRule():
            _within("maximum_count", action.maximum_count, 1, MAX_PAGE_SIZE)
            if action.window is not None:
                _within("window", action.window, 2, MAX_PAGE_SIZE)
            compiled = Cap(Limit(Attribute(action.attribute), action.maximum_count, action.window))
        case QuotaRule():
            _within("share", action.share, 0, 1)
            if not action.share:
                raise InvalidInput("share is 0; use more, or leave the rule out")
            compiled = Quota(_filter(action.filter), action.share)
        case PinRule():
            compiled = _pin(action)
    return compiled


def _diversity(action: DiversityRule) -> Reranking:
    if action.method == DiversityMethod.WINDOW:
        _within("window", action.window, 2, MAX_PAGE_SIZE)
        return Window(Limit(Attribute(action.attribute), 1, action.window))
    _within("level", action.level, 0, 1)
    return SimilarityDiversity(Mmr if action.method == DiversityMethod.MMR else Dpp, action.level)


def _pin(action: PinRule) -> Reranking:
    _within("position", action.position, 1, MAX_PAGE_SIZE)
    if bool(action.item_id) == bool(action.filter):
        raise InvalidInput("a pin takes an item_id or a filter; set one of them")
    return Pin(action.position - 1, action.item_id or _filter(action.filter))


def _filter(text: str) -> Filter:
    if not text.strip():
        raise InvalidInput("the filter is empty; write a condition")
    _within("the length of the filter", len(text), 1, LIMITS["filter"])
    return parse_filter(text)


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # so that NaN is rejected too
        raise InvalidInput(f"{name} is {value}; use {least} to {most}")
