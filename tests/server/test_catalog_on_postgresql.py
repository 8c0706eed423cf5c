"""Calls that write to the catalog, on PostgreSQL: one round through what is tried in detail on SQLite."""

from collections.abc import AsyncIterator

import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.client import AsyncClient
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import (
    BatchUpsertItemsRequest,
    BatchUpsertUsersRequest,
    DeleteItemRequest,
    DeleteUserRequest,
    ImportItemsRequest,
    ListItemsRequest,
    ListUsersRequest,
)
from endcap.v1.event_pb2 import Event
from endcap.v1.item_pb2 import Item
from endcap.v1.placement_pb2 import Placement, Rung
from endcap.v1.placement_service_pb2 import CreatePlacementRequest
from endcap.v1.task_pb2 import TASK_TRENDING
from endcap.v1.user_pb2 import User


@pytest.fixture
async def client(postgresql_url: str) -> AsyncIterator[AsyncClient]:
    """A client of a server whose only shop sells nothing yet."""
    database = await open_database(postgresql_url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=1)
    await database.close()
    application = Application(Settings(address="127.0.0.1:0", database_url=postgresql_url, drain_seconds=0.1))
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


async def _shown(client: AsyncClient) -> set[str]:
    return {result.item_id for result in (await client.recommend("home", visitor_id="phone")).results}


async def test_items_are_checked_written_listed_and_deleted(client: AsyncClient) -> None:
    async def messages() -> AsyncIterator[ImportItemsRequest]:
        yield ImportItemsRequest(items=[Item(id="pot", title="Pot"), Item(id="")])

    mug = Item(id="mug", title="Mug", tags=["new"])
    checked = await client.catalog.BatchUpsertItems(BatchUpsertItemsRequest(items=[mug], validate_only=True))
    nothing = await client.catalog.ListItems(ListItemsRequest())
    written = await client.catalog.BatchUpsertItems(BatchUpsertItemsRequest(items=[mug, mug]))
    streamed = await client.catalog.ImportItems(messages())
    listed = await client.catalog.ListItems(ListItemsRequest(filter="title:MUG AND tags = new"))
    both = await _shown(client)
    await client.catalog.DeleteItem(DeleteItemRequest(item_id="mug", etag=listed.items[0].etag))

    assert (checked.upserted_count, list(nothing.items)) == (1, [])
    assert (written.upserted_count, [each.reason for each in written.rejections]) == (1, ["DUPLICATE"])
    assert (streamed.upserted_count, streamed.rejected_count) == (1, 1)
    assert [item.id for item in listed.items] == ["mug"]
    assert (both, await _shown(client)) == ({"mug", "pot"}, {"pot"})


async def test_users_are_written_listed_and_forgotten(client: AsyncClient) -> None:
    await client.catalog.BatchUpsertItems(BatchUpsertItemsRequest(items=[Item(id="mug", title="Mug")]))
    users = [User(id="ann", tags=["vip"]), User(id="ben")]
    await client.catalog.BatchUpsertUsers(BatchUpsertUsersRequest(users=users))
    bought = Event(event_id="1", type="purchase", item_id="mug", user_id="ann", visitor_id="phone")
    await client.record_events([bought])
    before = await client.catalog.ListUsers(ListUsersRequest(filter="tags:vip"))
    seen = await _shown(client)
    forgotten = await client.catalog.DeleteUser(DeleteUserRequest(visitor_id="phone"))
    late = await client.record_events([Event(event_id="2", type="view", item_id="mug", user_id="ann")])
    after = await client.catalog.ListUsers(ListUsersRequest())

    assert [(user.id, list(user.visitor_ids)) for user in before.users] == [("ann", ["phone"])]
    assert (seen, await _shown(client)) == (set(), {"mug"})
    assert forgotten.event_count == 1
    assert [each.reason for each in late.rejections] == ["USER_DELETED"]
    assert [user.id for user in after.users] == ["ben"]


async def test_a_placement_is_only_checked_where_that_is_asked(client: AsyncClient) -> None:
    placement = Placement(id="shelf", task=TASK_TRENDING, ladder=[Rung(strategy="popular")])
    checked = await client.placements.CreatePlacement(
        CreatePlacementRequest(placement=placement, validate_only=True)
    )

    assert checked.placement.id == "shelf"
    assert checked.placement.etag == ""
