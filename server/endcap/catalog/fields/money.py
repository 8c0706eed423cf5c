"""Amounts of money: whole billionths of a currency unit, so that amounts are never rounded."""

from decimal import Decimal, InvalidOperation

from endcap.sdk.errors import InvalidInput


NANOS = 1_000_000_000
"""Billionths in a currency unit."""

MAX_UNITS = 9_223_372_035
"""The largest amount, in whole units: 64 bits hold no larger number of billionths."""


def to_nanos(amount: float | str | Decimal) -> int:
    """Return an amount in billionths; digits beyond the ninth are rounded off.

    A float stands for its shortest decimal spelling: 6.95 is exactly 6.95.

    Raises:
        InvalidInput: The amount is not a number, or is too large.
    """
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        raise InvalidInput(f"{amount!r} is not an amount of money") from None
    if not value.is_finite() or abs(value) >= MAX_UNITS + 1:
        raise InvalidInput(f"{amount!r} is not an amount of money between ±{MAX_UNITS}")
    return int((value * NANOS).to_integral_value())


def to_units(nanos: int) -> float:
    """Return an amount in currency units, as the nearest float."""
    return nanos / NANOS
