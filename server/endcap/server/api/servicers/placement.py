"""Configures placements."""

from endcap.catalog.configuration.audit_log import list_changes
from endcap.catalog.configuration.placements import get_placement, list_placements
from endcap.catalog.database.engine import Database
from endcap.catalog.fields.limits import check_id, check_limit
from endcap.server.admin.going_live import go_live
from endcap.server.admin.placements import PlacementEditor
from endcap.server.api.call import RpcContext, caller_and_shop
from endcap.server.api.convert import placements as convert
from endcap.server.api.paging import ListPage
from endcap.server.serving.shops import Shops
from endcap.v1 import placement_service_pb2 as pb
from endcap.v1.placement_service_pb2_grpc import PlacementServiceServicer


class PlacementServicer(PlacementServiceServicer):
    """Answers the calls of ``PlacementService``."""

    def __init__(self, shops: Shops, database: Database, editor: PlacementEditor) -> None:
        self._shops = shops
        self._database = database
        self._editor = editor

    async def GetPlacement(
        self, request: pb.GetPlacementRequest, context: RpcContext
    ) -> pb.GetPlacementResponse:
        """Return one placement."""
        check_id("placement", request.placement)
        _, shop = caller_and_shop(self._shops)
        async with self._database.read() as connection:
            found = await get_placement(connection=connection, shop=shop.id, placement_id=request.placement)
        return pb.GetPlacementResponse(placement=convert.write_placement(found))

    async def ListPlacements(
        self, request: pb.ListPlacementsRequest, context: RpcContext
    ) -> pb.ListPlacementsResponse:
        """Return a page of placements, by id."""
        caller, shop = caller_and_shop(self._shops)
        page = ListPage.read(request, key=shop.token_key, now=caller.time)
        async with self._database.read() as connection:
            found = await list_placements(
                connection=connection,
                shop=shop.id,
                after=page.cursor.get("after", ""),
                limit=page.size + 1,
            )
        placements, token = page.cut(found, lambda last: {"after": last.id})
        return pb.ListPlacementsResponse(
            placements=map(convert.write_placement, placements), next_page_token=token
        )

    async def CreatePlacement(
        self, request: pb.CreatePlacementRequest, context: RpcContext
    ) -> pb.CreatePlacementResponse:
        """Create a placement, or only check it."""
        caller, _ = caller_and_shop(self._shops)
        created = await self._editor.create(caller, convert.read_placement(request.placement))
        return pb.CreatePlacementResponse(
            placement=convert.write_placement(created),
            revision=await go_live(self._shops, caller, created.revision),
            request_id=caller.request_id,
        )

    async def UpdatePlacement(
        self, request: pb.UpdatePlacementRequest, context: RpcContext
    ) -> pb.UpdatePlacementResponse:
        """Change all of a placement or what a mask names, or only check the change."""
        caller, _ = caller_and_shop(self._shops)
        wanted = request.placement
        mask = request.update_mask if request.HasField("update_mask") else None
        check_id("placement", wanted.id, path="placement.id")
        check_limit("etag", wanted.etag, path="placement.etag")
        updated = await self._editor.update(
            caller, wanted.id, lambda stored: convert.read_update(stored, wanted, mask), etag=wanted.etag
        )
        return pb.UpdatePlacementResponse(
            placement=convert.write_placement(updated),
            revision=await go_live(self._shops, caller, updated.revision),
            request_id=caller.request_id,
        )

    async def DeletePlacement(
        self, request: pb.DeletePlacementRequest, context: RpcContext
    ) -> pb.DeletePlacementResponse:
        """Delete a placement."""
        check_id("placement", request.placement)
        check_limit("etag", request.etag)
        caller, _ = caller_and_shop(self._shops)
        revision = await self._editor.delete(
            caller, request.placement, etag=request.etag, allow_missing=request.allow_missing
        )
        return pb.DeletePlacementResponse(
            revision=await go_live(self._shops, caller, revision), request_id=caller.request_id
        )

    async def ListPlacementChanges(
        self, request: pb.ListPlacementChangesRequest, context: RpcContext
    ) -> pb.ListPlacementChangesResponse:
        """Return a page of the audit log, the newest change first."""
        check_limit("placement", request.placement)
        caller, shop = caller_and_shop(self._shops)
        page = ListPage.read(request, key=shop.token_key, now=caller.time)
        async with self._database.read() as connection:
            found = await list_changes(
                connection=connection,
                shop=shop.id,
                limit=page.size + 1,
                placement_id=request.placement,
                below_revision=page.cursor.get("below"),
            )
        changes, token = page.cut(found, lambda last: {"below": last.revision})
        return pb.ListPlacementChangesResponse(
            changes=map(convert.write_change, changes), next_page_token=token
        )
