"""Keeps the catalog: items and users, read, written and deleted."""

from collections.abc import AsyncIterator, Iterable

from endcap.catalog.database.engine import Database
from endcap.catalog.fields.limits import check_id, check_limit
from endcap.catalog.items.items import get_items
from endcap.catalog.people.deleted_people import People
from endcap.catalog.people.user_filters import user_condition
from endcap.catalog.people.user_records import get_user_records, list_user_records
from endcap.sdk.errors import InvalidInput, NotFound
from endcap.server.admin.entries import delete_item
from endcap.server.admin.going_live import go_live
from endcap.server.admin.item_lists import list_matching_items
from endcap.server.admin.users import delete_user
from endcap.server.api.call import RpcContext, caller_and_shop
from endcap.server.api.convert.fields import required
from endcap.server.api.convert.items import write_item
from endcap.server.api.convert.users import write_user
from endcap.server.api.paging import ListPage
from endcap.server.api.servicers.catalog_writes import upsert, upsert_stream
from endcap.server.serving.shops import Shops
from endcap.v1 import catalog_service_pb2 as pb
from endcap.v1.catalog_service_pb2_grpc import CatalogServiceServicer


class CatalogServicer(CatalogServiceServicer):
    """Answers the calls of ``CatalogService``."""

    def __init__(self, shops: Shops, database: Database) -> None:
        self._shops = shops
        self._database = database

    async def GetItem(self, request: pb.GetItemRequest, context: RpcContext) -> pb.GetItemResponse:
        """Return one item."""
        check_id("item_id", request.item_id)
        _, shop = caller_and_shop(self._shops)
        async with self._database.read() as connection:
            found = await get_items(connection=connection, shop=shop.id, item_ids=[request.item_id])
        if request.item_id not in found:
            raise NotFound(f"item {request.item_id!r} does not exist: write it with BatchUpsertItems first")
        return pb.GetItemResponse(item=write_item(found[request.item_id], currency=shop.state.view.currency))

    async def BatchGetItems(
        self, request: pb.BatchGetItemsRequest, context: RpcContext
    ) -> pb.BatchGetItemsResponse:
        """Return several items, and the ids of those that do not exist."""
        item_ids = _read_ids(request.item_ids, "item_id")
        _, shop = caller_and_shop(self._shops)
        async with self._database.read() as connection:
            found = await get_items(connection=connection, shop=shop.id, item_ids=item_ids)
        items = [found[item_id] for item_id in item_ids if item_id in found]
        return pb.BatchGetItemsResponse(
            items=[write_item(item, currency=shop.state.view.currency) for item in items],
            missing_item_ids=[item_id for item_id in item_ids if item_id not in found],
        )

    async def ListItems(self, request: pb.ListItemsRequest, context: RpcContext) -> pb.ListItemsResponse:
        """Return a page of items, by id."""
        caller, shop = caller_and_shop(self._shops)
        page = ListPage.read(request, key=shop.token_key, now=caller.time)
        found = await list_matching_items(
            self._shops,
            self._database,
            caller,
            filter_text=request.filter,
            limit=page.size + 1,
            after=page.cursor.get("after", ""),
        )
        items, token = page.cut(found, lambda last: {"after": last.id})
        return pb.ListItemsResponse(
            items=[write_item(item, currency=shop.state.view.currency) for item in items],
            next_page_token=token,
        )

    async def BatchUpsertItems(
        self, request: pb.BatchUpsertItemsRequest, context: RpcContext
    ) -> pb.BatchUpsertItemsResponse:
        """Create or change items, or only check them."""
        return pb.BatchUpsertItemsResponse(**await upsert(self._shops, self._database, request, "items"))

    async def DeleteItem(self, request: pb.DeleteItemRequest, context: RpcContext) -> pb.DeleteItemResponse:
        """Delete one item."""
        check_id("item_id", request.item_id)
        check_limit("etag", request.etag)
        caller, _ = caller_and_shop(self._shops)
        revision = await delete_item(
            self._database, caller, request.item_id, etag=request.etag, allow_missing=request.allow_missing
        )
        return pb.DeleteItemResponse(
            revision=await go_live(self._shops, caller, revision), request_id=caller.request_id
        )

    async def ImportItems(
        self, request_iterator: AsyncIterator[pb.ImportItemsRequest], context: RpcContext
    ) -> pb.ImportItemsResponse:
        """Create or change the items of a stream."""
        return pb.ImportItemsResponse(
            **await upsert_stream(self._shops, self._database, request_iterator, "items")
        )

    async def GetUser(self, request: pb.GetUserRequest, context: RpcContext) -> pb.GetUserResponse:
        """Return one user."""
        check_id("user_id", request.user_id)
        _, shop = caller_and_shop(self._shops)
        async with self._database.read() as connection:
            found = await get_user_records(connection=connection, shop=shop.id, user_ids=[request.user_id])
        if request.user_id not in found:
            raise NotFound("this user has no record: write it with BatchUpsertUsers first")
        return pb.GetUserResponse(user=write_user(found[request.user_id]))

    async def BatchGetUsers(
        self, request: pb.BatchGetUsersRequest, context: RpcContext
    ) -> pb.BatchGetUsersResponse:
        """Return several users, and the ids of those that have no record."""
        user_ids = _read_ids(request.user_ids, "user_id")
        _, shop = caller_and_shop(self._shops)
        async with self._database.read() as connection:
            found = await get_user_records(connection=connection, shop=shop.id, user_ids=user_ids)
        return pb.BatchGetUsersResponse(
            users=[write_user(found[user_id]) for user_id in user_ids if user_id in found],
            missing_user_ids=[user_id for user_id in user_ids if user_id not in found],
        )

    async def ListUsers(self, request: pb.ListUsersRequest, context: RpcContext) -> pb.ListUsersResponse:
        """Return a page of users, by id."""
        caller, shop = caller_and_shop(self._shops)
        page = ListPage.read(request, key=shop.token_key, now=caller.time)
        async with self._database.read() as connection:
            found = await list_user_records(
                connection=connection,
                shop=shop.id,
                limit=page.size + 1,
                after=page.cursor.get("after", ""),
                condition=user_condition(request.filter, connection.dialect.name),
            )
        users, token = page.cut(found, lambda last: {"after": last.id})
        return pb.ListUsersResponse(users=map(write_user, users), next_page_token=token)

    async def BatchUpsertUsers(
        self, request: pb.BatchUpsertUsersRequest, context: RpcContext
    ) -> pb.BatchUpsertUsersResponse:
        """Create or change users, or only check them."""
        return pb.BatchUpsertUsersResponse(**await upsert(self._shops, self._database, request, "users"))

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: RpcContext) -> pb.DeleteUserResponse:
        """Remove every trace of a user."""
        if not (request.user_id or request.visitor_id):
            raise InvalidInput("user_id or visitor_id is required: say who", field="user_id")
        for field in ("user_id", "visitor_id"):
            if identifier := getattr(request, field):
                check_id(field, identifier)
        caller, _ = caller_and_shop(self._shops)
        named = People(
            frozenset(filter(None, (request.user_id,))), frozenset(filter(None, (request.visitor_id,)))
        )
        forgotten = await delete_user(
            self._database, self._shops, caller, named, allow_missing=request.allow_missing
        )
        return pb.DeleteUserResponse(
            event_count=forgotten.event_count,
            exposure_count=forgotten.exposure_count,
            revision=await go_live(self._shops, caller, forgotten.revision),
            request_id=caller.request_id,
        )

    async def ImportUsers(
        self, request_iterator: AsyncIterator[pb.ImportUsersRequest], context: RpcContext
    ) -> pb.ImportUsersResponse:
        """Create or change the users of a stream."""
        return pb.ImportUsersResponse(
            **await upsert_stream(self._shops, self._database, request_iterator, "users")
        )


def _read_ids(ids: Iterable[str], field: str) -> list[str]:
    """Return the ids of a request, each once.

    Args:
        ids: The ids as sent.
        field: The name of one id, such as ``item_id``.
    """
    path = f"{field}s"
    wanted = list(dict.fromkeys(required(path, list(ids), limit=f"get_{path}")))
    for wanted_id in wanted:
        check_id(field, wanted_id, path=path)
    return wanted
