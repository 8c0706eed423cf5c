"""Configures what shows where."""

import uuid

from endcap.catalog.database import Database
from endcap.catalog.placement_changes import list_changes
from endcap.catalog.placements import get_placement, list_placements
from endcap.server.convert import placements as convert
from endcap.server.interceptors import Context, current_call
from endcap.server.limits import check_id, check_limit
from endcap.server.paging import ListPage
from endcap.server.placement_editing import Edit, PlacementEditor
from endcap.server.shops import Shop, Shops
from endcap.v1 import placement_service_pb2 as pb
from endcap.v1.placement_service_pb2_grpc import PlacementServiceServicer


class PlacementServicer(PlacementServiceServicer):
    """Answers the calls of ``PlacementService``."""

    def __init__(self, shops: Shops, database: Database, editor: PlacementEditor) -> None:
        self._shops = shops
        self._database = database
        self._editor = editor

    async def GetPlacement(
        self, request: pb.GetPlacementRequest, context: Context
    ) -> pb.GetPlacementResponse:
        """Return one placement."""
        check_id("placement", request.placement)
        check_limit("request_id", request.request_id)
        shop = self._shop()
        async with self._database.read() as connection:
            found = await get_placement(connection=connection, shop=shop.id, placement_id=request.placement)
        return pb.GetPlacementResponse(placement=convert.write_placement(found))

    async def ListPlacements(
        self, request: pb.ListPlacementsRequest, context: Context
    ) -> pb.ListPlacementsResponse:
        """Return a page of placements, by id."""
        shop = self._shop()
        page = ListPage.read(request, key=shop.token_key, now=current_call.get().time)
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
        self, request: pb.CreatePlacementRequest, context: Context
    ) -> pb.CreatePlacementResponse:
        """Create a placement, or only check it."""
        shop, edit = self._shop(), _edit(request.request_id, validate_only=request.validate_only)
        created = await self._editor.create(edit, convert.read_placement(request.placement))
        return pb.CreatePlacementResponse(
            placement=convert.write_placement(created),
            revision=await self._serve(shop, created.revision),
            request_id=edit.request_id,
        )

    async def UpdatePlacement(
        self, request: pb.UpdatePlacementRequest, context: Context
    ) -> pb.UpdatePlacementResponse:
        """Change all of a placement or what a mask names, or only check the change."""
        shop, edit = self._shop(), _edit(request.request_id, validate_only=request.validate_only)
        wanted = request.placement
        mask = request.update_mask if request.HasField("update_mask") else None
        check_id("placement", wanted.id, path="placement.id")
        check_limit("etag", wanted.etag, path="placement.etag")
        updated = await self._editor.update(
            edit, wanted.id, lambda stored: convert.read_update(stored, wanted, mask), etag=wanted.etag
        )
        return pb.UpdatePlacementResponse(
            placement=convert.write_placement(updated),
            revision=await self._serve(shop, updated.revision),
            request_id=edit.request_id,
        )

    async def DeletePlacement(
        self, request: pb.DeletePlacementRequest, context: Context
    ) -> pb.DeletePlacementResponse:
        """Delete a placement."""
        check_id("placement", request.placement)
        check_limit("etag", request.etag)
        shop, edit = self._shop(), _edit(request.request_id)
        revision = await self._editor.delete(
            edit, request.placement, etag=request.etag, allow_missing=request.allow_missing
        )
        return pb.DeletePlacementResponse(
            revision=await self._serve(shop, revision), request_id=edit.request_id
        )

    async def ListPlacementChanges(
        self, request: pb.ListPlacementChangesRequest, context: Context
    ) -> pb.ListPlacementChangesResponse:
        """Return a page of the audit log, the newest change first."""
        check_limit("placement", request.placement)
        shop = self._shop()
        page = ListPage.read(request, key=shop.token_key, now=current_call.get().time)
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

    async def _serve(self, shop: Shop, revision: int) -> int:
        """Serve with what was stored, if anything was, and return the revision that a client may require."""
        if revision > shop.revision:
            await self._shops.rebuild(shop, revision)
        return revision or shop.revision

    def _shop(self) -> Shop:
        return self._shops.get(current_call.get().shop)


def _edit(request_id: str, *, validate_only: bool = False) -> Edit:
    """Describe the change that the current call makes; calls need no credential that would name an actor."""
    if request_id:
        check_id("request_id", request_id)
    call = current_call.get()
    return Edit(
        call.shop,
        time=call.time,
        request_id=request_id or uuid.uuid4().hex,
        validate_only=validate_only,
    )
