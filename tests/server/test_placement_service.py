"""Placements, changed over the wire of a real server, in process."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from endcap.catalog.items.items import Item
from endcap.client import AsyncClient, Options
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1 import placement_pb2
from endcap.v1.event_pb2 import Event
from endcap.v1.placement_service_pb2 import (
    CreatePlacementRequest,
    DeletePlacementRequest,
    GetPlacementRequest,
    ListPlacementChangesRequest,
    ListPlacementsRequest,
    UpdatePlacementRequest,
)


NOW = 1_700_000_000_000
SHELF: dict[str, Any] = {
    "id": "shelf",
    "display_name": "Shelf",
    "task": "TASK_FOR_YOU",
    "ladder": [{"strategy": "cold_start", "parameters": {"new_days": 7}, "timeout": "0.250s"}],
    "seen": {"mode": "SEEN_MODE_EXCLUDE", "event_types": ["view"], "window": "3600s"},
    "page_size": 2,
    "filter": "price < 20",
    "rules": [{"name": "mug first", "pin": {"position": 1, "item_id": "mug"}}],
}


def shelf(**fields: Any) -> placement_pb2.Placement:
    return ParseDict({**SHELF, **fields}, placement_pb2.Placement())


@pytest.fixture
def stock() -> list[Item]:
    """A kettle and a mug."""
    return [Item("kettle", title="Kettle"), Item("mug", title="Mug")]


async def create(client: AsyncClient, placement: placement_pb2.Placement) -> placement_pb2.Placement:
    return (await client.placements.CreatePlacement(CreatePlacementRequest(placement=placement))).placement


async def get(client: AsyncClient, placement: str) -> placement_pb2.Placement:
    return (await client.placements.GetPlacement(GetPlacementRequest(placement=placement))).placement


async def changes(client: AsyncClient, placement: str = "") -> list[Any]:
    request = ListPlacementChangesRequest(placement=placement)
    return list((await client.placements.ListPlacementChanges(request)).changes)


def field_of(error: grpc.aio.AioRpcError) -> str:
    """Return the field that an error names in its details."""
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return str(info.metadata["field"])


async def test_a_placement_comes_back_as_it_was_created(client: AsyncClient) -> None:
    created = await create(client, shelf(etag="ignored", experiments=["ignored"]))

    assert await get(client, "shelf") == created
    assert (created.etag, list(created.experiments)) == ("3", [])
    assert created.create_time == created.update_time != placement_pb2.Placement().create_time
    for output in ("etag", "create_time", "update_time"):
        created.ClearField(output)
    assert created == shelf()


async def test_the_next_answer_is_made_with_what_was_created_changed_and_deleted(
    client: AsyncClient,
) -> None:
    await create(client, ParseDict({**SHELF, "filter": "", "rules": []}, placement_pb2.Placement()))
    both = await client.recommend("shelf")
    await client.placements.UpdatePlacement(
        UpdatePlacementRequest(placement=shelf(page_size=1), update_mask=FieldMask(paths=["page_size"]))
    )
    one = await client.recommend("shelf")
    await client.placements.DeletePlacement(DeletePlacementRequest(placement="shelf"))

    assert [len(both.results), len(one.results)] == [2, 1]
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.recommend("shelf")
    assert rejected.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_next_answer_keeps_to_the_rules_and_the_filter_that_were_stored(
    client: AsyncClient,
) -> None:
    def pinned(item_id: str) -> list[dict[str, Any]]:
        return [{"name": "first", "pin": {"position": 1, "item_id": item_id}}]

    firsts = []
    await create(client, shelf(filter="", rules=pinned("kettle")))
    for item_id in ("mug", "kettle"):
        await client.placements.UpdatePlacement(
            UpdatePlacementRequest(
                placement=shelf(rules=pinned(item_id)), update_mask=FieldMask(paths=["rules"])
            )
        )
        firsts.append((await client.recommend("shelf")).results[0].item_id)
    await client.placements.UpdatePlacement(
        UpdatePlacementRequest(
            placement=shelf(filter='title = "Mug"'), update_mask=FieldMask(paths=["filter"])
        )
    )
    filtered = await client.recommend("shelf")

    assert firsts == ["mug", "kettle"]
    assert [result.item_id for result in filtered.results] == ["mug"]


@pytest.mark.parametrize(
    ("mode", "shown"),
    [
        ("SEEN_MODE_UNSPECIFIED", {"mug", "kettle"}),
        ("SEEN_MODE_INCLUDE", {"mug", "kettle"}),
        ("SEEN_MODE_EXCLUDE", {"kettle"}),
    ],
)
async def test_a_list_is_ranked_whole_unless_its_placement_leaves_out_what_was_seen(
    client: AsyncClient, mode: str, shown: set[str]
) -> None:
    await client.record_events([Event(type="purchase", user_id="anna", item_id="mug")])
    ladder = [{"strategy": "popular"}]
    ranked = {"id": "ranked", "task": "TASK_RANK", "ladder": ladder, "seen": {"mode": mode}}
    await create(client, ParseDict(ranked, placement_pb2.Placement()))

    answer = await client.recommend("ranked", user_id="anna", candidate_item_ids=["mug", "kettle"])

    assert {result.item_id for result in answer.results} == shown


async def test_another_server_knows_a_change_by_its_revision(settings: Settings, client: AsyncClient) -> None:
    other = Application(settings)
    await other.start()

    created = await client.placements.CreatePlacement(CreatePlacementRequest(placement=shelf()))
    async with AsyncClient(f"127.0.0.1:{other.port}") as other_client:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await other_client.recommend("shelf")
        answer = await other_client.recommend("shelf", minimum_revision=created.revision)
    await other.stop()

    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    assert answer.revision == created.revision == 3


async def test_an_id_that_is_taken_is_rejected(client: AsyncClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await create(client, shelf(id="home"))

    assert rejected.value.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_a_placement_of_another_shop_is_not_found(
    application: Application, client: AsyncClient
) -> None:
    await create(client, shelf())

    async with AsyncClient(f"127.0.0.1:{application.port}", Options(shop="another")) as another:
        for call in (
            another.placements.GetPlacement(GetPlacementRequest(placement="shelf")),
            another.placements.UpdatePlacement(UpdatePlacementRequest(placement=shelf())),
            another.placements.DeletePlacement(DeletePlacementRequest(placement="shelf")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as rejected:
                await call
            assert rejected.value.code() is grpc.StatusCode.NOT_FOUND
        assert await changes(another) == []


@pytest.mark.parametrize(
    ("placement", "code", "field"),
    [
        (shelf(id="Shelf"), "INVALID_ARGUMENT", "placement.id"),
        (shelf(ladder=[]), "INVALID_ARGUMENT", "placement.ladder"),
        (shelf(ladder=[{"strategy": "unheard_of"}]), "FAILED_PRECONDITION", ""),
        (shelf(ladder=[{"strategy": "popular"}, {"strategy": "recently_viewed"}]), "FAILED_PRECONDITION", ""),
        (
            shelf(ladder=[{"strategy": "cold_start", "parameters": {"half_life": 7}}]),
            "INVALID_ARGUMENT",
            "placement.ladder[0].parameters.half_life",
        ),
        (
            shelf(ladder=[{"strategy": "cold_start", "parameters": {"new_days": "seven"}}]),
            "INVALID_ARGUMENT",
            "placement.ladder[0].parameters.new_days",
        ),
        (
            shelf(ladder=[{"strategy": "cold_start", "parameters": {"rules": "nonsense"}}]),
            "INVALID_ARGUMENT",
            "placement.ladder[0].parameters.rules",
        ),
        (
            shelf(ladder=[{"strategy": "hybrid", "parameters": {"weights": "ease:1"}}]),
            "INVALID_ARGUMENT",
            "placement.ladder[0].parameters.weights",
        ),
        (shelf(filter="price <"), "INVALID_ARGUMENT", "placement.filter"),
        (shelf(filter="colour = red"), "INVALID_ARGUMENT", "placement.filter"),
        (shelf(rules=[{"name": "r", "filter": {"filter": "("}}]), "INVALID_ARGUMENT", "placement.rules"),
        (
            shelf(rules=[{"name": "r", "boost": {"filter": "price < 9", "strength": 2}}]),
            "INVALID_ARGUMENT",
            "placement.rules[0].boost.strength",
        ),
        (
            shelf(rules=[{"name": "r", "cap": {"attribute": "title", "maximum_count": 1}}]),
            "INVALID_ARGUMENT",
            "placement.rules",
        ),
        (shelf(exploration={"temperature": 1}), "UNIMPLEMENTED", ""),
    ],
)
async def test_what_cannot_serve_is_rejected_whether_or_not_it_is_to_be_stored(
    client: AsyncClient, placement: placement_pb2.Placement, code: str, field: str
) -> None:
    for validate_only in (True, False):
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await client.placements.CreatePlacement(
                CreatePlacementRequest(placement=placement, validate_only=validate_only)
            )
        assert rejected.value.code().name == code
        assert field_of(rejected.value) == field


async def test_a_preview_shows_what_would_be_stored_and_stores_nothing(client: AsyncClient) -> None:
    created = await client.placements.CreatePlacement(
        CreatePlacementRequest(placement=shelf(), validate_only=True)
    )
    home = await get(client, "home")
    updated = await client.placements.UpdatePlacement(
        UpdatePlacementRequest(
            placement=placement_pb2.Placement(id="home", page_size=3),
            update_mask=FieldMask(paths=["page_size"]),
            validate_only=True,
        )
    )

    assert (created.placement.page_size, created.placement.etag) == (2, "")
    assert (updated.placement.page_size, updated.placement.etag) == (3, "")
    assert updated.placement.create_time == home.create_time
    assert await get(client, "home") == home
    assert await changes(client) == []
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await get(client, "shelf")
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND


async def test_without_a_mask_all_is_written_and_what_is_not_set_is_cleared(client: AsyncClient) -> None:
    await create(client, shelf())

    kept = {name: SHELF[name] for name in ("id", "task", "ladder")}
    bare = ParseDict(kept, placement_pb2.Placement())
    updated = await client.placements.UpdatePlacement(UpdatePlacementRequest(placement=bare))

    stored = updated.placement
    assert stored == await get(client, "shelf")
    assert (stored.display_name, stored.filter, list(stored.rules), stored.page_size) == ("", "", [], 10)
    assert list(stored.seen.event_types) == ["purchase"]


async def test_a_mask_writes_what_it_names_alone(client: AsyncClient) -> None:
    before = await create(client, shelf())

    rules = placement_pb2.Placement(id="shelf", display_name="ignored")
    updated = await client.placements.UpdatePlacement(
        UpdatePlacementRequest(placement=rules, update_mask=FieldMask(paths=["rules"]))
    )

    before.ClearField("rules")
    before.etag = updated.placement.etag
    before.update_time.CopyFrom(updated.placement.update_time)
    assert updated.placement == before


async def test_an_unknown_path_or_another_task_is_rejected(client: AsyncClient) -> None:
    await create(client, shelf())

    for request, field in (
        (UpdatePlacementRequest(placement=shelf(), update_mask=FieldMask(paths=["name"])), "update_mask"),
        (UpdatePlacementRequest(placement=shelf(task="TASK_TRENDING")), "placement.task"),
        (UpdatePlacementRequest(placement=placement_pb2.Placement()), "placement.id"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await client.placements.UpdatePlacement(request)
        assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert field_of(rejected.value) == field


async def test_who_has_read_an_older_state_is_told_to_read_it_again(client: AsyncClient) -> None:
    read = await create(client, shelf())
    await client.placements.UpdatePlacement(UpdatePlacementRequest(placement=shelf(page_size=5)))

    for call in (
        client.placements.UpdatePlacement(UpdatePlacementRequest(placement=shelf(etag=read.etag))),
        client.placements.UpdatePlacement(
            UpdatePlacementRequest(placement=shelf(etag=read.etag), validate_only=True)
        ),
        client.placements.DeletePlacement(DeletePlacementRequest(placement="shelf", etag=read.etag)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await call
        assert rejected.value.code() is grpc.StatusCode.ABORTED

    current = await get(client, "shelf")
    await client.placements.DeletePlacement(DeletePlacementRequest(placement="shelf", etag=current.etag))
    assert current.page_size == 5


async def test_of_two_who_change_one_state_at_once_one_is_told(client: AsyncClient) -> None:
    read = await create(client, shelf())

    outcomes = await asyncio.gather(
        *(
            client.placements.UpdatePlacement(
                UpdatePlacementRequest(placement=shelf(page_size=size, etag=read.etag))
            )
            for size in (3, 4)
        ),
        return_exceptions=True,
    )

    rejected = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert [error.code() for error in rejected] == [grpc.StatusCode.ABORTED]
    assert len(await changes(client, "shelf")) == 2


async def test_a_placement_that_is_gone_may_count_as_deleted(client: AsyncClient) -> None:
    gone = await client.placements.DeletePlacement(
        DeletePlacementRequest(placement="attic", allow_missing=True)
    )

    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.placements.DeletePlacement(DeletePlacementRequest(placement="attic"))

    assert rejected.value.code() is grpc.StatusCode.NOT_FOUND
    assert gone.revision == 2
    assert await changes(client) == []


async def test_placements_are_listed_page_by_page_by_id(client: AsyncClient) -> None:
    first = await client.placements.ListPlacements(ListPlacementsRequest(page_size=4))
    second = await client.placements.ListPlacements(
        ListPlacementsRequest(page_size=4, page_token=first.next_page_token)
    )

    names = [[placement.id for placement in page.placements] for page in (first, second)]
    assert names[0] == ["cart", "home", "product", "rank"]
    assert names[1] == sorted(names[1])
    assert min(names[1]) > "rank"
    assert second.next_page_token == ""


async def test_a_page_token_of_another_list_is_rejected(client: AsyncClient) -> None:
    page = await client.placements.ListPlacements(ListPlacementsRequest(page_size=1))

    for token in (page.next_page_token, page.next_page_token[:-1], "x" * 8193):
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await client.placements.ListPlacementChanges(ListPlacementChangesRequest(page_token=token))
        assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert field_of(rejected.value) == "page_token"


async def test_every_change_is_logged_with_what_was_before_and_after(client: AsyncClient) -> None:
    created = await client.placements.CreatePlacement(
        CreatePlacementRequest(placement=shelf(), request_id="first")
    )
    updated = await client.placements.UpdatePlacement(
        UpdatePlacementRequest(placement=shelf(page_size=5), request_id="second")
    )
    deleted = await client.placements.DeletePlacement(DeletePlacementRequest(placement="shelf"))

    logged = await changes(client, "shelf")

    assert [change.request_id for change in logged] == [deleted.request_id, "second", "first"]
    assert [change.HasField("before") for change in logged] == [True, True, False]
    assert [change.HasField("after") for change in logged] == [False, True, True]
    assert logged[2].after == logged[1].before == created.placement
    assert logged[1].after == logged[0].before == updated.placement
    assert {change.actor for change in logged} == {""}
    assert [created.revision, updated.revision, deleted.revision] == [3, 4, 5]
    assert (created.request_id, bool(deleted.request_id)) == ("first", True)


async def test_the_log_goes_on_page_by_page_below_the_last_change_read(client: AsyncClient) -> None:
    for number in range(3):
        await create(client, shelf(id=f"shelf-{number}"))
    first = await client.placements.ListPlacementChanges(ListPlacementChangesRequest(page_size=2))
    await create(client, shelf(id="meanwhile"))
    second = await client.placements.ListPlacementChanges(
        ListPlacementChangesRequest(page_size=2, page_token=first.next_page_token)
    )

    read = [change.after.id for page in (first, second) for change in page.changes]
    assert read == ["shelf-2", "shelf-1", "shelf-0"]
    assert second.next_page_token == ""
