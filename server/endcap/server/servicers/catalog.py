"""Reads the catalog."""

from endcap.catalog.database import Database
from endcap.catalog.items import get_items
from endcap.sdk.errors import InvalidInput, NotFound
from endcap.server.convert.items import write_item
from endcap.server.interceptors import Context, current_call
from endcap.server.limits import check_id, check_limit
from endcap.server.shops import Shops
from endcap.v1 import catalog_service_pb2 as pb
from endcap.v1.catalog_service_pb2_grpc import CatalogServiceServicer


class CatalogServicer(CatalogServiceServicer):
    """Answers the calls of ``CatalogService``; the methods that are not here are not built yet."""

    def __init__(self, shops: Shops, database: Database) -> None:
        self._shops = shops
        self._database = database

    async def GetItem(self, request: pb.GetItemRequest, context: Context) -> pb.GetItemResponse:
        """Return one item."""
        check_id("item_id", request.item_id)
        shop = self._shops.get(current_call.get().shop)
        async with self._database.read() as connection:
            found = await get_items(connection=connection, shop=shop.id, item_ids=[request.item_id])
        if request.item_id not in found:
            raise NotFound(f"there is no item {request.item_id!r}")
        return pb.GetItemResponse(item=write_item(found[request.item_id]))

    async def BatchGetItems(
        self, request: pb.BatchGetItemsRequest, context: Context
    ) -> pb.BatchGetItemsResponse:
        """Return several items, and the ids of those that do not exist."""
        if not request.item_ids:
            raise InvalidInput("item_ids are required: send at least one", field="item_ids")
        check_limit("get_item_ids", request.item_ids)
        for item_id in request.item_ids:
            check_id("item_id", item_id)
        shop = self._shops.get(current_call.get().shop)
        async with self._database.read() as connection:
            found = await get_items(connection=connection, shop=shop.id, item_ids=request.item_ids)
        return pb.BatchGetItemsResponse(
            items=[write_item(found[item_id]) for item_id in request.item_ids if item_id in found],
            missing_item_ids=[item_id for item_id in request.item_ids if item_id not in found],
        )
