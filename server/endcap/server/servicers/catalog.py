"""Keeps the catalog: items and users, read, written and deleted."""

from collections.abc import AsyncIterator, Iterable
from typing import TypeAlias

from endcap.catalog.database import Database
from endcap.catalog.filtering import parse_list_filter
from endcap.catalog.forgetting import forget_user
from endcap.catalog.items import Item, delete_items, get_items
from endcap.catalog.listing import (
    ITEM_LIST_FIELDS,
    USER_LIST_FIELDS,
    list_matching_items,
    list_matching_users,
)
from endcap.catalog.revisions import lock_revision
from endcap.catalog.shops import get_shop
from endcap.catalog.tombstones import People
from endcap.catalog.user_records import UserRecord, get_user_records
from endcap.sdk.errors import InvalidInput, NotFound
from endcap.server.catalog_editing import ITEMS, USERS, check_etag
from endcap.server.convert.items import item_reader, write_item
from endcap.server.convert.users import user_reader, write_user
from endcap.server.interceptors import Context, current_call
from endcap.server.limits import check_id, check_limit
from endcap.server.paging import ListPage
from endcap.server.servicers.catalog_writes import CatalogWriter, Form, read_edit, required
from endcap.server.shops import Shop, Shops
from endcap.v1 import catalog_service_pb2 as pb
from endcap.v1 import item_pb2, user_pb2
from endcap.v1.catalog_service_pb2_grpc import CatalogServiceServicer


_ItemsRequest: TypeAlias = pb.BatchUpsertItemsRequest | pb.ImportItemsRequest
_UsersRequest: TypeAlias = pb.BatchUpsertUsersRequest | pb.ImportUsersRequest

_ITEMS: Form[_ItemsRequest, item_pb2.Item, Item] = Form(
    "items", entries=lambda request: request.items, reader=item_reader, kind=ITEMS
)
_USERS: Form[_UsersRequest, user_pb2.User, UserRecord] = Form(
    "users", entries=lambda request: request.users, reader=user_reader, kind=USERS
)


class CatalogServicer(CatalogServiceServicer):
    """Answers the calls of ``CatalogService``."""

    def __init__(self, shops: Shops, database: Database) -> None:
        self._shops = shops
        self._database = database
        self._writer = CatalogWriter(shops, database)

    async def GetItem(self, request: pb.GetItemRequest, context: Context) -> pb.GetItemResponse:
        """Return one item."""
        check_id("item_id", request.item_id)
        check_limit("request_id", request.request_id)
        shop = self._shop()
        async with self._database.read() as connection:
            found = await get_items(connection=connection, shop=shop.id, item_ids=[request.item_id])
        if request.item_id not in found:
            raise NotFound(f"there is no item {request.item_id!r}: write it with BatchUpsertItems first")
        return pb.GetItemResponse(item=write_item(found[request.item_id], currency=shop.state.view.currency))

    async def BatchGetItems(
        self, request: pb.BatchGetItemsRequest, context: Context
    ) -> pb.BatchGetItemsResponse:
        """Return several items, and the ids of those that do not exist."""
        item_ids = _read_ids(request.item_ids, "item_id")
        check_limit("request_id", request.request_id)
        shop = self._shop()
        async with self._database.read() as connection:
            found = await get_items(connection=connection, shop=shop.id, item_ids=item_ids)
        items = [found[item_id] for item_id in item_ids if item_id in found]
        return pb.BatchGetItemsResponse(
            items=[write_item(item, currency=shop.state.view.currency) for item in items],
            missing_item_ids=[item_id for item_id in item_ids if item_id not in found],
        )

    async def ListItems(self, request: pb.ListItemsRequest, context: Context) -> pb.ListItemsResponse:
        """Return a page of items, by id."""
        now = current_call.get().time
        shop = self._shop()
        page = ListPage.read(request, key=shop.token_key, now=now)
        expression = parse_list_filter(request.filter, ITEM_LIST_FIELDS)
        async with self._database.read() as connection:
            found = await list_matching_items(
                connection=connection,
                shop=await get_shop(connection=connection, shop=shop.id),
                expression=expression,
                limit=page.size,
                after=page.cursor.get("after", ""),
                now=now,
            )
        return pb.ListItemsResponse(
            items=[write_item(item, currency=shop.state.view.currency) for item in found.entries],
            next_page_token=page.next_token({"after": found.last}) if found.last else "",
        )

    async def BatchUpsertItems(
        self, request: pb.BatchUpsertItemsRequest, context: Context
    ) -> pb.BatchUpsertItemsResponse:
        """Create or change items, or only check them."""
        stored = await self._writer.write(request, _ITEMS)
        return pb.BatchUpsertItemsResponse(
            upserted_count=stored.count,
            rejections=stored.rejections,
            revision=stored.revision,
            request_id=stored.request_id,
        )

    async def DeleteItem(self, request: pb.DeleteItemRequest, context: Context) -> pb.DeleteItemResponse:
        """Delete one item."""
        check_id("item_id", request.item_id)
        check_limit("etag", request.etag)
        shop, edit = self._shop(), read_edit(request.request_id)
        revision = 0
        async with self._database.write() as connection:
            await lock_revision(connection=connection, shop=shop.id)
            found = await get_items(connection=connection, shop=shop.id, item_ids=[request.item_id])
            if found:
                check_etag(found[request.item_id], request.etag)
                revision = await delete_items(
                    connection=connection, shop=shop.id, item_ids=[request.item_id], now=edit.time
                )
            elif not request.allow_missing:
                raise NotFound(f"there is no item {request.item_id!r}: set allow_missing if that is as well")
        return pb.DeleteItemResponse(
            revision=await self._writer.serve(shop, revision), request_id=edit.request_id
        )

    async def ImportItems(
        self, request_iterator: AsyncIterator[pb.ImportItemsRequest], context: Context
    ) -> pb.ImportItemsResponse:
        """Create or change the items of a stream."""
        stored = await self._writer.write_stream(request_iterator, _ITEMS)
        return pb.ImportItemsResponse(
            upserted_count=stored.count,
            rejected_count=stored.rejected,
            rejections=stored.rejections,
            revision=stored.revision,
            request_id=stored.request_id,
        )

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        """Return one user."""
        check_id("user_id", request.user_id)
        check_limit("request_id", request.request_id)
        async with self._database.read() as connection:
            found = await get_user_records(
                connection=connection, shop=self._shop().id, user_ids=[request.user_id]
            )
        if request.user_id not in found:
            raise NotFound(
                "there is no record of this user: write it with BatchUpsertUsers first, or do without"
            )
        return pb.GetUserResponse(user=write_user(found[request.user_id]))

    async def BatchGetUsers(
        self, request: pb.BatchGetUsersRequest, context: Context
    ) -> pb.BatchGetUsersResponse:
        """Return several users, and the ids of those that have no record."""
        user_ids = _read_ids(request.user_ids, "user_id")
        check_limit("request_id", request.request_id)
        async with self._database.read() as connection:
            found = await get_user_records(connection=connection, shop=self._shop().id, user_ids=user_ids)
        return pb.BatchGetUsersResponse(
            users=[write_user(found[user_id]) for user_id in user_ids if user_id in found],
            missing_user_ids=[user_id for user_id in user_ids if user_id not in found],
        )

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        """Return a page of users, by id."""
        shop = self._shop()
        page = ListPage.read(request, key=shop.token_key, now=current_call.get().time)
        expression = parse_list_filter(request.filter, USER_LIST_FIELDS)
        async with self._database.read() as connection:
            found = await list_matching_users(
                connection=connection,
                shop=shop.id,
                expression=expression,
                limit=page.size,
                after=page.cursor.get("after", ""),
            )
        return pb.ListUsersResponse(
            users=map(write_user, found.entries),
            next_page_token=page.next_token({"after": found.last}) if found.last else "",
        )

    async def BatchUpsertUsers(
        self, request: pb.BatchUpsertUsersRequest, context: Context
    ) -> pb.BatchUpsertUsersResponse:
        """Create or change users, or only check them."""
        stored = await self._writer.write(request, _USERS)
        return pb.BatchUpsertUsersResponse(
            upserted_count=stored.count,
            rejections=stored.rejections,
            revision=stored.revision,
            request_id=stored.request_id,
        )

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> pb.DeleteUserResponse:
        """Remove every trace of a user."""
        if not (request.user_id or request.visitor_id):
            raise InvalidInput("user_id or visitor_id is required: say who", field="user_id")
        for field in ("user_id", "visitor_id"):
            if identifier := getattr(request, field):
                check_id(field, identifier)
        shop, edit = self._shop(), read_edit(request.request_id)
        named = People(
            frozenset(filter(None, (request.user_id,))), frozenset(filter(None, (request.visitor_id,)))
        )
        forgotten = await forget_user(self._database, shop.id, named, allow_missing=request.allow_missing)
        await self._shops.forget(shop, forgotten)
        return pb.DeleteUserResponse(
            event_count=forgotten.event_count,
            exposure_count=forgotten.exposure_count,
            revision=await self._writer.serve(shop, forgotten.revision),
            request_id=edit.request_id,
        )

    async def ImportUsers(
        self, request_iterator: AsyncIterator[pb.ImportUsersRequest], context: Context
    ) -> pb.ImportUsersResponse:
        """Create or change the users of a stream."""
        stored = await self._writer.write_stream(request_iterator, _USERS)
        return pb.ImportUsersResponse(
            upserted_count=stored.count,
            rejected_count=stored.rejected,
            rejections=stored.rejections,
            revision=stored.revision,
            request_id=stored.request_id,
        )

    def _shop(self) -> Shop:
        return self._shops.get(current_call.get().shop)


def _read_ids(ids: Iterable[str], field: str) -> list[str]:
    """Return the ids of a request, each once.

    Args:
        ids: As they came.
        field: What each is called, as ``item_id``.
    """
    path = f"{field}s"
    wanted = list(dict.fromkeys(required(path, list(ids), limit=f"get_{path}")))
    for wanted_id in wanted:
        check_id(field, wanted_id, path=path)
    return wanted
