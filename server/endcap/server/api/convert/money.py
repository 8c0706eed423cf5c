"""Amounts of money."""

from typing import NamedTuple

from endcap.catalog.fields.checks import CURRENCY
from endcap.catalog.fields.money import MAX_UNITS, NANOS
from endcap.sdk.errors import InvalidInput
from endcap.v1 import money_pb2


class Money(NamedTuple):
    """An amount as the platform keeps it."""

    nanos: int
    """Billionths of a unit."""

    currency: str
    """ISO 4217 code; empty for the shop's."""


def read_money(message: money_pb2.Money, *, field: str) -> Money:
    """Read an amount that must not be negative.

    Raises:
        InvalidInput: The amount is negative or too large, or its nanos are a unit or more.
    """
    if not (0 <= message.units <= MAX_UNITS and 0 <= message.nanos < NANOS):
        raise InvalidInput(
            f"{field} must have units from 0 to {MAX_UNITS} and nanos from 0 to {NANOS - 1}", field=field
        )
    code = message.currency_code
    if code and not CURRENCY.fullmatch(code):
        raise InvalidInput(f"{field} must have an ISO 4217 currency_code, such as EUR", field=field)
    return Money(message.units * NANOS + message.nanos, code)


def write_money(nanos: int, currency: str) -> money_pb2.Money:
    """Write an amount."""
    units, rest = divmod(nanos, NANOS)
    return money_pb2.Money(units=units, nanos=rest, currency_code=currency)
