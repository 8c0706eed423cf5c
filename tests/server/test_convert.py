"""Between protobuf and the platform's values."""

import pytest

from endcap.catalog.money import MAX_UNITS
from endcap.sdk.errors import InvalidInput
from endcap.server.convert.events import read_event
from endcap.server.convert.money import Money, read_money, write_money
from endcap.v1 import event_pb2, money_pb2


def test_money_survives_the_way_in_and_out() -> None:
    message = money_pb2.Money(units=6, nanos=950_000_000, currency_code="GBP")

    money = read_money(message, field="price")

    assert money == Money(6_950_000_000, "GBP")
    assert write_money(*money) == message


@pytest.mark.parametrize(
    "message",
    [
        money_pb2.Money(units=-1),
        money_pb2.Money(nanos=-1),
        money_pb2.Money(nanos=1_000_000_000),
        money_pb2.Money(units=MAX_UNITS + 1),
        money_pb2.Money(units=1, currency_code="euro"),
        money_pb2.Money(units=1, currency_code="eur"),
    ],
)
def test_money_that_is_none_is_refused(message: money_pb2.Money) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_money(message, field="cost")

    assert caught.value.field == "cost"


def test_an_event_from_before_1970_is_refused() -> None:
    message = event_pb2.Event(event_id="1", type="view", item_id="mug", user_id="ann")
    message.time.seconds = -1

    with pytest.raises(InvalidInput, match="before 1970"):
        read_event(message, now=0)
