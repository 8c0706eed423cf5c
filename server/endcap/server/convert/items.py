"""Items."""

from endcap.catalog.items import Availability, Item
from endcap.server.convert.money import write_money
from endcap.v1 import item_pb2


def write_item(value: Item) -> item_pb2.Item:
    """Write an item for a shop front: everything but its cost."""
    message = item_pb2.Item(
        id=value.id,
        group_id=value.group_id,
        title=value.title,
        description=value.description,
        language_code=value.language_code,
        categories=value.categories,
        brand=value.brand,
        tags=value.tags,
        image_uris=value.image_uris,
        availability=_availability(value.availability),
        etag=value.etag,
    )
    for field, nanos in (("price", value.price_nanos), ("original_price", value.original_price_nanos)):
        if nanos is not None:
            getattr(message, field).CopyFrom(write_money(nanos, value.currency))
    if value.created_time is not None:
        message.create_time.FromMilliseconds(value.created_time)
    message.update_time.FromMilliseconds(value.updated_time)
    return message


def _availability(value: Availability) -> "item_pb2.Availability.ValueType":
    return item_pb2.Availability.Value(f"AVAILABILITY_{value.name}")
