"""Who asks, and what their role allows."""

from functools import partial

import grpc
import pytest

from endcap.client import AsyncClient
from endcap.sdk.errors import InvalidInput, PermissionDenied
from endcap.server.admin.caller import Caller, CallerRole, require
from endcap.server.api.call import identified
from endcap.server.api.roles import required_role
from endcap.v1.catalog_service_pb2 import BatchUpsertItemsRequest, DeleteItemRequest, ListItemsRequest


CALLER = Caller("default", 1, "call")


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (CallerRole.SERVE, {CallerRole.SERVE}),
        (CallerRole.INGEST, {CallerRole.INGEST}),
        (CallerRole.READ, {CallerRole.READ}),
        (CallerRole.EDIT, {CallerRole.READ, CallerRole.EDIT}),
        (CallerRole.ADMIN, set(CallerRole)),
    ],
)
def test_a_role_allows_itself_and_what_it_includes(role: CallerRole, allowed: set[CallerRole]) -> None:
    caller = Caller("default", 1, "call", role=role)

    for wanted in CallerRole:
        if wanted in allowed:
            require(caller, wanted)
        else:
            with pytest.raises(PermissionDenied, match=f"use a key with the role {wanted}"):
                require(caller, wanted)


@pytest.mark.parametrize(
    ("method", "role"),
    [
        ("RecommendationService/BatchRecommend", CallerRole.SERVE),
        ("EventService/RecordEvents", CallerRole.INGEST),
        ("CatalogService/BatchGetItems", CallerRole.READ),
        ("PlacementService/ListPlacementChanges", CallerRole.READ),
        ("CatalogService/BatchUpsertItems", CallerRole.INGEST),
        ("CatalogService/DeleteUser", CallerRole.ADMIN),
        ("ShopService/ListShops", CallerRole.READ),
        ("ShopService/DeleteShop", CallerRole.ADMIN),
        ("ModelService/ActivateBundle", CallerRole.EDIT),
        ("ModelService/BurnBundle", CallerRole.ADMIN),
        ("NoService/GetNothing", CallerRole.ADMIN),
    ],
)
def test_a_method_needs_the_role_that_the_contract_states(method: str, role: CallerRole) -> None:
    assert required_role(f"/endcap.v1.{method}") is role


def test_a_request_names_its_call_or_gets_a_name() -> None:
    named = identified(CALLER, BatchUpsertItemsRequest(request_id="mine", validate_only=True))
    fallback = identified(CALLER, BatchUpsertItemsRequest(), default="batch/0")
    made_up = identified(CALLER, BatchUpsertItemsRequest())

    assert (named.request_id, named.validate_only) == ("mine", True)
    assert (fallback.request_id, fallback.validate_only) == ("batch/0", False)
    assert len(made_up.request_id) == 32
    for wrong in ("x" * 129, "a\nb"):
        with pytest.raises(InvalidInput) as caught:
            identified(CALLER, BatchUpsertItemsRequest(request_id=wrong))
        assert caught.value.field == "request_id"


async def test_a_call_beyond_its_callers_role_is_denied_and_changes_nothing(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("endcap.server.api.interceptor.Caller", partial(Caller, role=CallerRole.READ))

    await client.catalog.ListItems(ListItemsRequest())
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.catalog.DeleteItem(DeleteItemRequest(item_id="mug", allow_missing=True))

    assert rejected.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert rejected.value.details() == "the role read may not do this: use a key with the role ingest"
