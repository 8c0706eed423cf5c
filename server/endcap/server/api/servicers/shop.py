"""Creates, configures and deletes shops."""

import secrets
from dataclasses import replace

from endcap.catalog.configuration.shops import get_shop, list_shops
from endcap.catalog.database.engine import Database
from endcap.catalog.fields.limits import check_id, check_limit
from endcap.server.admin.caller import Caller
from endcap.server.admin.going_live import go_live
from endcap.server.admin.shops import ShopEditor
from endcap.server.api.call import RpcContext, current_caller
from endcap.server.api.convert import shops as convert
from endcap.server.api.paging import ListPage
from endcap.server.serving.shops import Shops
from endcap.v1 import shop_service_pb2 as pb
from endcap.v1.shop_service_pb2_grpc import ShopServiceServicer


class ShopServicer(ShopServiceServicer):
    """Answers the calls of ``ShopService``."""

    def __init__(self, shops: Shops, database: Database, editor: ShopEditor) -> None:
        self._shops = shops
        self._database = database
        self._editor = editor
        self._token_key = secrets.token_bytes(32)  # a list of shops is no shop's own

    async def GetShop(self, request: pb.GetShopRequest, context: RpcContext) -> pb.GetShopResponse:
        """Return one shop."""
        check_id("shop", request.shop)
        async with self._database.read() as connection:
            found = await get_shop(connection=connection, shop=request.shop)
        return pb.GetShopResponse(shop=convert.write_shop(found))

    async def ListShops(self, request: pb.ListShopsRequest, context: RpcContext) -> pb.ListShopsResponse:
        """Return a page of shops, by id."""
        page = ListPage.read(request, key=self._token_key, now=current_caller.get().time)
        async with self._database.read() as connection:
            found = await list_shops(
                connection=connection, after=page.cursor.get("after", ""), limit=page.size + 1
            )
        shops, token = page.cut(found, lambda last: {"after": last.id})
        return pb.ListShopsResponse(shops=map(convert.write_shop, shops), next_page_token=token)

    async def CreateShop(self, request: pb.CreateShopRequest, context: RpcContext) -> pb.CreateShopResponse:
        """Create a shop and serve it, or only check that it could be."""
        check_id("shop", request.shop.id, path="shop.id")
        caller = _caller(request.shop.id)
        created = await self._editor.create(caller, convert.read_new_shop(request.shop))
        if created.revision:
            await self._shops.meet(created.id)
        return pb.CreateShopResponse(shop=convert.write_shop(created), request_id=caller.request_id)

    async def UpdateShop(self, request: pb.UpdateShopRequest, context: RpcContext) -> pb.UpdateShopResponse:
        """Change all settings of a shop or those that a mask names, or only check the change."""
        wanted = request.shop
        check_id("shop", wanted.id, path="shop.id")
        check_limit("etag", wanted.etag, path="shop.etag")
        caller = _caller(wanted.id)
        mask = request.update_mask if request.HasField("update_mask") else None
        updated = await self._editor.update(
            caller, lambda stored: convert.read_update(stored, wanted, mask), etag=wanted.etag
        )
        if updated.revision:
            await self._shops.meet(updated.id)  # another server may have created it a moment ago
            await go_live(self._shops, caller, updated.revision)
        return pb.UpdateShopResponse(shop=convert.write_shop(updated), request_id=caller.request_id)

    async def DeleteShop(self, request: pb.DeleteShopRequest, context: RpcContext) -> pb.DeleteShopResponse:
        """Delete a shop with every trace of it."""
        check_id("shop", request.shop)
        check_limit("etag", request.etag)
        caller = _caller(request.shop)
        await self._editor.delete(caller, etag=request.etag, allow_missing=request.allow_missing)
        self._shops.close(request.shop)
        return pb.DeleteShopResponse(request_id=caller.request_id)


def _caller(shop: str) -> Caller:
    """Return the caller of the call at hand, for the shop that its message names."""
    return replace(current_caller.get(), shop=shop)
