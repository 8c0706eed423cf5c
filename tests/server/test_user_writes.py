"""Users, written, listed and forgotten over the wire of a real server, in process."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from sqlalchemy import select

from endcap.catalog.database.engine import open_database
from endcap.catalog.database.tables import EVENTS
from endcap.catalog.items.items import Item
from endcap.catalog.memory.histories import Histories
from endcap.client import AsyncClient, Options
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.v1.catalog_service_pb2 import (
    BatchGetUsersRequest,
    BatchUpsertUsersRequest,
    BatchUpsertUsersResponse,
    DeleteUserRequest,
    GetUserRequest,
    ImportUsersRequest,
    ListUsersRequest,
)
from endcap.v1.event_pb2 import Event
from endcap.v1.user_pb2 import User


NOW = 1_700_000_000_000
ANN: dict[str, Any] = {
    "id": "ann",
    "tags": ["trade", "vip"],
    "attributes": {"level": {"number": 3}, "since": {"time": "2020-01-01T00:00:00Z"}},
    "language_code": "de",
    "create_time": "2020-01-01T00:00:00Z",
}


def ann(**fields: Any) -> User:
    return ParseDict({**ANN, **fields}, User())


@pytest.fixture
def stock() -> list[Item]:
    """A mug and a pot."""
    return [Item("mug"), Item("pot")]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of a server that looks for news often."""
    return settings.model_copy(update={"refresh_seconds": 0.1})


@pytest.fixture
async def other_client(settings: Settings) -> AsyncIterator[AsyncClient]:
    """A client of another server of the same database."""
    application = Application(settings)
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


async def upsert(
    client: AsyncClient, *users: User, paths: Iterable[str] | None = None, **options: Any
) -> BatchUpsertUsersResponse:
    request = BatchUpsertUsersRequest(users=users, **options)
    if paths is not None:
        request.update_mask.CopyFrom(FieldMask(paths=list(paths)))
    response: BatchUpsertUsersResponse = await client.catalog.BatchUpsertUsers(request)
    return response


async def get(client: AsyncClient, user_id: str) -> User:
    return (await client.catalog.GetUser(GetUserRequest(user_id=user_id))).user


def event(
    event_id: str, item_id: str = "mug", *, user_id: str = "", visitor_id: str = "", age: int = 0
) -> Event:
    made = Event(event_id=event_id, type="purchase", item_id=item_id, user_id=user_id, visitor_id=visitor_id)
    made.time.FromSeconds(int(time.time()) - age)
    return made


async def test_a_user_comes_back_as_it_was_written(client: AsyncClient) -> None:
    await upsert(client, ann(visitor_ids=["ignored"]))
    user = await get(client, "ann")
    batch = await client.catalog.BatchGetUsers(BatchGetUsersRequest(user_ids=["ann", "ben", "ann"]))

    assert (list(batch.users), list(batch.missing_user_ids)) == ([user], ["ben"])
    assert user.etag == "1"
    assert user.HasField("update_time")
    for output in ("etag", "update_time"):
        user.ClearField(output)
    assert user == ann()


async def test_a_user_names_the_linked_visitors_the_newest_link_first(client: AsyncClient) -> None:
    await upsert(client, ann())
    for age, visitor in ((300, "phone"), (200, "laptop"), (100, "phone")):
        await client.record_events([event(str(age), user_id="ann", visitor_id=visitor, age=age)])
    both = list((await get(client, "ann")).visitor_ids)
    await client.record_events([event("3", user_id="ben", visitor_id="phone")])

    assert both == ["laptop", "phone"]
    assert list((await get(client, "ann")).visitor_ids) == ["laptop"]


async def test_a_user_with_events_only_has_no_record(client: AsyncClient) -> None:
    await client.record_events([event("1", user_id="ben")])
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await get(client, "ben")

    assert rejected.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_mask_writes_what_it_names_and_nothing_else(client: AsyncClient) -> None:
    await upsert(client, ann())
    await upsert(client, User(id="ann"), paths=["tags", "attributes.level"])
    user = await get(client, "ann")

    assert (list(user.tags), set(user.attributes), user.language_code) == ([], {"since"}, "de")
    assert user.create_time == ann().create_time
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await upsert(client, ann(), paths=["title"])
    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"id": ""}, "INVALID_ID", "id"),
        ({"tags": ["x"] * 65}, "LIMIT_EXCEEDED", "tags"),
        ({"attributes": {"Level": {"number": 1}}}, "INVALID_VALUE", "attributes"),
        ({"language_code": "?"}, "INVALID_VALUE", "language_code"),
        ({"create_time": "2999-01-01T00:00:00Z"}, "INVALID_VALUE", "create_time"),
        ({"id": "ben"}, "DUPLICATE", ""),
        ({"etag": "7"}, "ETAG_MISMATCH", ""),
        ({"id": "gone"}, "USER_DELETED", ""),
    ],
)
async def test_a_bad_user_rejects_itself_alone(
    client: AsyncClient, fields: dict[str, Any], reason: str, field: str
) -> None:
    await client.catalog.DeleteUser(DeleteUserRequest(user_id="gone", allow_missing=True))
    response = await upsert(client, User(id="ben"), ann(**fields), User(id="cleo"))

    assert response.upserted_count == 2
    assert [(each.index, each.reason, each.field) for each in response.rejections] == [(1, reason, field)]
    assert [user.id for user in (await client.catalog.ListUsers(ListUsersRequest())).users] == ["ben", "cleo"]


async def test_users_are_listed_in_pages_that_are_filtered(client: AsyncClient) -> None:
    await upsert(client, ann(), User(id="ben", tags=["vip"]), User(id="cleo"), User(id="dora", tags=["vip"]))
    request = ListUsersRequest(page_size=2, filter='tags:"vip"')
    first = await client.catalog.ListUsers(request)
    request.page_token = first.next_page_token
    second = await client.catalog.ListUsers(request)
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.catalog.ListUsers(ListUsersRequest(filter="attributes.level >= 3"))

    assert [user.id for user in first.users] == ["ann", "ben"]
    assert ([user.id for user in second.users], second.next_page_token) == (["dora"], "")
    assert "use one of id, language_code, tags, user_id" in str(rejected.value.details())


async def test_a_stream_of_users_is_stored_message_by_message(client: AsyncClient) -> None:
    async def messages() -> AsyncIterator[ImportUsersRequest]:
        yield ImportUsersRequest(users=[ann(), User(id="")], request_id="import")
        yield ImportUsersRequest(users=[User(id="ben")])

    response = await client.catalog.ImportUsers(messages())

    assert (response.upserted_count, response.rejected_count, response.request_id) == (2, 1, "import")
    assert [(each.index, each.reason) for each in response.rejections] == [(1, "INVALID_ID")]
    assert (await get(client, "ben")).id == "ben"


def _known_people() -> str:
    """Return who any history of this process knows."""
    histories = [each for each in gc.get_objects() if type(each) is Histories]
    return repr([(list(each.users), list(each.visitors)) for each in histories])


def _found_in_files(folder: Path, ids: Sequence[str]) -> list[str]:
    content = b"".join(file.read_bytes() for file in folder.glob("endcap.db*"))
    return [each for each in ids if each.encode() in content]


async def test_a_deleted_user_is_forgotten_at_once_by_every_server_and_soon_by_the_files(
    client: AsyncClient, other_client: AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    ids = ("ann-of-green-gables", "visitor-phone")
    user_id, visitor_id = ids
    await upsert(client, ann(id=user_id))
    await client.record_events([event("1", user_id=user_id, visitor_id=visitor_id)])
    await client.record_events([event("2", "pot", visitor_id=visitor_id)])
    before = await client.recommend("home", visitor_id=visitor_id)
    known_before = _known_people()
    response = await client.catalog.DeleteUser(DeleteUserRequest(user_id=user_id, request_id="deletion"))
    after = await client.recommend("home", visitor_id=visitor_id)
    elsewhere = await other_client.recommend(
        "home", visitor_id=visitor_id, minimum_revision=response.revision
    )

    assert not before.results
    assert {result.item_id for result in after.results} == {"mug", "pot"}
    assert {result.item_id for result in elsewhere.results} == {"mug", "pot"}
    assert (response.event_count, response.request_id) == (2, "deletion")
    gc.collect()
    assert all(each in known_before for each in ids)
    assert not [each for each in ids if each in _known_people()]
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await get(client, user_id)
    assert rejected.value.code() is grpc.StatusCode.NOT_FOUND
    async with asyncio.timeout(20):
        while _found_in_files(tmp_path, ids):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_server_erases_again_until_no_reader_keeps_a_deleted_user_in_the_files(
    client: AsyncClient, settings: Settings, tmp_path: Path
) -> None:
    ids = ("ann-of-green-gables",)
    await client.record_events([event("1", user_id=ids[0])])
    database = await open_database(settings.database_url)
    async with database.read() as reader:
        await reader.execute(select(EVENTS.c.sequence))
        await client.catalog.DeleteUser(DeleteUserRequest(user_id=ids[0]))
        await asyncio.sleep(0.5)
        left = _found_in_files(tmp_path, ids)
    async with asyncio.timeout(20):
        while _found_in_files(tmp_path, ids):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await database.close()

    assert left == list(ids)


async def test_late_events_of_a_deleted_user_are_rejected_by_their_reason(client: AsyncClient) -> None:
    await client.catalog.DeleteUser(DeleteUserRequest(user_id="ann", allow_missing=True))
    response = await client.record_events([event("1", user_id="ann"), event("2", user_id="ben")])

    assert [(each.index, each.reason) for each in response.rejections] == [(0, "USER_DELETED")]
    assert response.accepted_count == 1


async def test_nobody_is_deleted_without_a_name_or_a_trace(client: AsyncClient) -> None:
    codes = []
    for request in (
        DeleteUserRequest(),
        DeleteUserRequest(user_id="nobody"),
        DeleteUserRequest(user_id="\n"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await client.catalog.DeleteUser(request)
        codes.append(rejected.value.code())

    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    assert codes == [invalid, missing, invalid]


async def test_a_user_of_another_shop_stays(application: Application, client: AsyncClient) -> None:
    async with AsyncClient(f"127.0.0.1:{application.port}", Options(shop="another")) as other:
        await upsert(other, ann())
        with pytest.raises(grpc.aio.AioRpcError) as rejected:
            await client.catalog.DeleteUser(DeleteUserRequest(user_id="ann"))

        assert rejected.value.code() is grpc.StatusCode.NOT_FOUND
        assert (await get(other, "ann")).id == "ann"
