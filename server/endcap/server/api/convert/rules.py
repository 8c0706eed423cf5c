"""Rules of placements."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from types import MappingProxyType
from typing import Any

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
from endcap.catalog.fields.limits import MAX_FATIGUE_EXPOSURES, MAX_FATIGUE_WINDOW, MAX_PAGE_SIZE, check_limit
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.fields import Fields, enum_prefix, write_time
from endcap.v1 import rule_pb2


_DIVERSITY = DiversityRule()
_FATIGUE = FatigueRule()


def read_rules(messages: Sequence[rule_pb2.Rule], *, path: str) -> tuple[Rule, ...]:
    """Read the rules of a placement; whether their filters and attributes exist is not looked at.

    Args:
        messages: The rules as sent.
        path: The path of the rules in the request.

    Raises:
        InvalidInput: The rules are too many, two share a name, or a field is missing or out of range.
    """
    check_limit("rules", messages, path=path)
    rules: dict[str, Rule] = {}
    for index, message in enumerate(messages):
        fields = Fields(message, f"{path}[{index}]")
        rule = _read_rule(message, fields)
        if rule.name in rules:
            raise fields.rejection("name", f"is used twice: give the second {rule.name!r} another name")
        rules[rule.name] = rule
    return tuple(rules.values())


def write_rule(rule: Rule) -> rule_pb2.Rule:
    """Write a rule."""
    message = rule_pb2.Rule(
        name=rule.name,
        disabled=rule.disabled,
        start_time=write_time(rule.start_time),
        end_time=write_time(rule.end_time),
    )
    _write_action(rule.action, getattr(message, rule.action.kind))
    return message


def _read_rule(message: rule_pb2.Rule, fields: Fields) -> Rule:
    name = fields.text("name", limit="rule")
    start_time, end_time = fields.time("start_time"), fields.time("end_time")
    if start_time is not None and end_time is not None and end_time <= start_time:
        raise fields.rejection("end_time", "must be later than start_time")
    kind = message.WhichOneof("action")
    if kind is None:
        raise InvalidInput(f"{fields.path} does nothing: set one of {', '.join(_READERS)}", field=fields.path)
    action = _READERS[kind](Fields(getattr(message, kind), fields.path_of(kind)))
    return Rule(name, action, message.disabled, start_time, end_time)


def _read_fatigue(fields: Fields) -> FatigueRule:
    return FatigueRule(
        exposure_count=fields.number(
            "exposure_count", 1, MAX_FATIGUE_EXPOSURES, zero=_FATIGUE.exposure_count
        ),
        window=fields.duration("window", maximum=MAX_FATIGUE_WINDOW) or _FATIGUE.window,
        strength=fields.number("strength", 0, 1, zero=_FATIGUE.strength),
    )


def _read_diversity(fields: Fields) -> DiversityRule:
    method = fields.choice("method", DiversityMethod, default=DiversityMethod.WINDOW)
    needs_attribute = method is DiversityMethod.WINDOW
    return DiversityRule(
        method=method,
        level=fields.number("level", 0, 1, zero=_DIVERSITY.level),
        attribute=fields.text("attribute") if needs_attribute else fields.optional_text("attribute"),
        window=fields.number("window", 2, MAX_PAGE_SIZE, zero=_DIVERSITY.window),
    )


def _read_cap(fields: Fields) -> CapRule:
    return CapRule(
        attribute=fields.text("attribute"),
        maximum_count=fields.number("maximum_count", 1, MAX_PAGE_SIZE),
        window=fields.number("window", 2, MAX_PAGE_SIZE, zero=0) or None,
    )


def _read_quota(fields: Fields) -> QuotaRule:
    share = fields.number("share", 0, 1)
    if share == 0:
        raise fields.rejection("share", "must be above 0")
    return QuotaRule(fields.filter(), share)


def _read_pin(fields: Fields) -> PinRule:
    position = fields.number("position", 1, MAX_PAGE_SIZE)
    target = fields.message.WhichOneof("target")
    if target is None:
        raise InvalidInput(f"{fields.path} pins nothing: set item_id or filter", field=fields.path)
    if target == "item_id":
        return PinRule(position, item_id=fields.text("item_id"))
    return PinRule(position, filter=fields.filter())


_READERS: Mapping[str, Callable[[Fields], Action]] = MappingProxyType(
    {
        FilterRule.kind: lambda fields: FilterRule(fields.filter()),
        BoostRule.kind: lambda fields: BoostRule(fields.filter(), fields.number("strength", -1, 1)),
        BiasRule.kind: lambda fields: BiasRule(
            fields.choice("target", BiasTarget), fields.number("strength", -1, 1)
        ),
        FatigueRule.kind: _read_fatigue,
        DiversityRule.kind: _read_diversity,
        CapRule.kind: _read_cap,
        QuotaRule.kind: _read_quota,
        PinRule.kind: _read_pin,
    }
)


def _write_action(action: Action, message: Any) -> None:
    message.SetInParent()
    for name, value in asdict(action).items():
        field = message.DESCRIPTOR.fields_by_name[name]
        if field.message_type is not None:
            getattr(message, name).FromMilliseconds(value)
        elif isinstance(value, Enum):
            setattr(message, name, f"{enum_prefix(field.enum_type)}{value.name}")
        elif value:  # an empty one of a choice of fields would be the chosen one
            setattr(message, name, value)
