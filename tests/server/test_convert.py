"""Between protobuf and the platform's values."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from endcap.catalog.configuration.shop_settings import ShopSettings
from endcap.catalog.fields.money import MAX_UNITS
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.events import read_event
from endcap.server.api.convert.money import Money, read_money, write_money
from endcap.v1 import event_pb2, money_pb2
from endcap.v1.attribute_value_pb2 import AttributeValue, TextList


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
def test_money_that_is_none_is_rejected(message: money_pb2.Money) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_money(message, field="cost")

    assert caught.value.field == "cost"


def test_an_event_from_before_1970_is_rejected() -> None:
    message = event_pb2.Event(event_id="1", type="view", item_id="mug", user_id="ann")
    message.time.seconds = -1

    with pytest.raises(InvalidInput, match="before 1970"):
        read_event(message, now=0, settings=ShopSettings())


def test_properties_are_values_that_json_holds() -> None:
    message = event_pb2.Event(event_id="1", type="view", item_id="mug", user_id="ann")
    message.properties["colour"].text = "red"
    message.properties["weight"].number = 0.5
    message.properties["gift"].boolean = False
    message.properties["labels"].texts.values.extend(["a", "b"])
    message.properties["delivery"].time.FromMilliseconds(1_700_000_000_123)

    assert read_event(message, now=0, settings=ShopSettings()).properties == {
        "colour": "red",
        "weight": 0.5,
        "gift": False,
        "labels": ["a", "b"],
        "delivery": 1_700_000_000_123,
    }


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (AttributeValue(), "properties.x"),
        (AttributeValue(number=float("nan")), "properties.x"),
        (AttributeValue(text="x" * 1_025), "properties.x"),
        (AttributeValue(texts=TextList(values=["x"] * 65)), "properties.x"),
        (AttributeValue(texts=TextList(values=["x" * 1_025])), "properties.x"),
        (AttributeValue(time=Timestamp(nanos=-1)), "properties.x.time"),
    ],
)
def test_a_property_that_is_no_value_is_rejected_by_its_name(value: AttributeValue, field: str) -> None:
    message = event_pb2.Event(
        event_id="1", type="view", item_id="mug", user_id="ann", properties={"x": value}
    )

    with pytest.raises(InvalidInput) as caught:
        read_event(message, now=0, settings=ShopSettings())

    assert caught.value.field == field
