"""What a client sees of a server that it, or a plugin, tries to break: a stated status, never UNKNOWN."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from endcap.catalog.configuration.placements import Placement, RungSpec, put_placement
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.runtime.plugin_host import Plugin, PluginHost
from endcap.sdk import (
    NO_RANKING,
    CatalogView,
    NoParameters,
    Query,
    Ranking,
    RegisterStrategy,
    Resources,
    Task,
    hookimpl,
)
from endcap.server.api.servicers.recommendation import RecommendationServicer
from endcap.server.app import Application
from endcap.server.commands.serve import configure_log
from endcap.server.settings import Settings
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2 import RecordEventsRequest, RecordEventsResponse
from endcap.v1.recommendation_pb2 import DEGRADATION_CAUSE_TIMED_OUT
from endcap.v1.recommendation_service_pb2 import (
    BatchRecommendRequest,
    BatchRecommendResponse,
    RecommendRequest,
    RecommendResponse,
)


RECOMMEND = "/endcap.v1.RecommendationService/Recommend"
BATCH_RECOMMEND = "/endcap.v1.RecommendationService/BatchRecommend"
RECORD_EVENTS = "/endcap.v1.EventService/RecordEvents"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CANARY = "postgres://root:hunter2@db"
FORGED = 'eve\n{"event": "forged", "level": "info"}'


@dataclass(frozen=True)
class Served:
    """A server in this process and a channel to it, without the client's deadlines and retries."""

    application: Application
    channel: grpc.aio.Channel

    async def send(self, method: str, message: bytes, **options: Any) -> bytes:
        """Call a method with bytes, whatever they are."""
        call: Callable[..., Awaitable[bytes]] = self.channel.unary_unary(method)
        return await call(message, **options)

    async def rejection(self, method: str, message: bytes, **options: Any) -> grpc.aio.AioRpcError:
        """Call a method with bytes that it rejects."""
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await self.send(method, message, **options)
        return error.value

    async def recommend(self, placement: str = "home", **options: Any) -> RecommendResponse:
        """Ask for recommendations."""
        message = RecommendRequest(placement=placement, visitor_id="eve").SerializeToString()
        return RecommendResponse.FromString(await self.send(RECOMMEND, message, **options))


class Blocking:
    """A plugin with the strategy ``blocking``, which answers nothing until it is let go."""

    tasks = frozenset({Task.FOR_YOU})

    def __init__(self) -> None:
        self.runs = 0
        self.entered = threading.Event()
        self.gate = threading.Event()

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        self.runs += 1
        self.entered.set()
        self.gate.wait(10)
        return [NO_RANKING for _ in queries]

    @hookimpl
    def register_strategies(self, register: RegisterStrategy) -> None:
        def build(resources: Resources, parameters: NoParameters) -> Blocking:
            return self

        register("blocking", build)


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """The database of a shop with one item, where the placement ``slow`` asks ``blocking`` first."""
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=0)
        await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=0)
        slow = Placement("slow", Task.FOR_YOU, (RungSpec("blocking"), RungSpec("popular")))
        await put_placement(connection=connection, shop="default", placement=slow, now=0)
    await database.close()
    return url


@pytest.fixture
def blocking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocking]:
    """The plugin, installed beside those that ship."""
    plugin = Blocking()
    installed = [
        Plugin("popular", "endcap", "0", lambda: import_module("endcap.strategies.popular")),
        Plugin("blocking", "tests", "0", lambda: plugin),
    ]
    monkeypatch.setattr(PluginHost, "discover", lambda: PluginHost(installed))
    yield plugin
    plugin.gate.set()


@asynccontextmanager
async def serving(url: str, **settings: Any) -> AsyncIterator[Served]:
    application = Application(
        Settings(address="127.0.0.1:0", database_url=url, **{"drain_seconds": 0.1} | settings)
    )
    await application.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel:
        yield Served(application, channel)
    await application.stop()


@pytest.fixture
async def served(url: str) -> AsyncIterator[Served]:
    async with serving(url) as served:
        yield served


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The placements of the requests that reach ``Recommend`` of a server that is started after this."""
    requests: list[str] = []
    answer = RecommendationServicer.Recommend

    async def counted(self: Any, request: Any, context: Any) -> Any:
        requests.append(request.placement)
        return await answer(self, request, context)

    monkeypatch.setattr(RecommendationServicer, "Recommend", counted)
    return requests


def field_of(error: grpc.aio.AioRpcError) -> str:
    """Return the field that a rejection names to programs."""
    info = error_details_pb2.ErrorInfo()
    rpc_status.from_call(error).details[0].Unpack(info)  # type: ignore[arg-type]
    field: str = info.metadata["field"]
    return field


@pytest.mark.parametrize("message", [b"\xff" * 4, b"\x0a\x02\xff\xfe"])
@pytest.mark.parametrize("method", [RECOMMEND, RECORD_EVENTS, "/grpc.health.v1.Health/Check"])
async def test_bytes_that_are_no_message_or_no_text_are_an_invalid_argument(
    served: Served, method: str, message: bytes
) -> None:
    error = await served.rejection(method, message)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "a text is not UTF-8" in str(error.details())


async def test_a_stream_with_bytes_that_are_no_message_is_an_invalid_argument(url: str) -> None:
    async with serving(url, reflection=True) as served:
        call: Any = served.channel.stream_stream(REFLECTION)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(iter([b"\xff"])).read()

    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def parameters_in_parameters(levels: int) -> bytes:
    """Encode a ``CreatePlacementRequest`` with a rung whose parameters hold a list in a list in a list."""

    def around(numbers: Sequence[int], content: bytes) -> bytes:
        """Put a message into fields of these numbers, the innermost first."""
        for number in numbers:
            length = len(content)
            varint = bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])
            content = bytes([number << 3 | 2]) + varint + content
        return content

    value = around((1, 6) * levels, b"")  # ListValue.values, Value.list_value
    return around((2, 1, 2, 4, 1), value)  # an entry's value, Struct.fields, parameters, ladder, placement


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (RECOMMEND, b"\x0b" * 2_000 + b"\x0c" * 2_000),
        ("/endcap.v1.PlacementService/CreatePlacement", parameters_in_parameters(2_000)),
    ],
)
async def test_two_thousand_levels_of_nesting_are_an_invalid_argument(
    served: Served, method: str, message: bytes
) -> None:
    error = await served.rejection(method, message)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (error.details() or "").startswith("the message is not valid protobuf")


@pytest.mark.parametrize("megabytes", [2, 5])
async def test_a_message_that_is_too_large_does_not_reach_its_method(
    url: str, entered: list[str], megabytes: int
) -> None:
    message = RecommendRequest(placement="large", query="x" * (megabytes << 20)).SerializeToString()

    async with serving(url) as served:
        error = await served.rejection(RECOMMEND, message)
        await served.recommend("home")

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert entered == ["home"]


async def test_fifty_megabytes_of_zeros_in_fifty_kilobytes_do_not_reach_their_method(
    url: str, entered: list[str]
) -> None:
    async with serving(url) as served:
        error = await served.rejection(RECOMMEND, bytes(50 << 20), compression=grpc.Compression.Gzip)
        await served.recommend("home")

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert entered == ["home"]


async def test_too_much_metadata_is_rejected(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await served.recommend(metadata=[("padding", "x" * 20_000)])

    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "method", ["/endcap.v1.RecommendationService/Guess", "/endcap.v0.RecommendationService/Recommend"]
)
async def test_a_method_that_does_not_exist_is_unimplemented(served: Served, method: str) -> None:
    assert (await served.rejection(method, b"")).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_reflection_is_off_unless_it_is_asked_for(url: str, served: Served) -> None:
    async def list_services(channel: grpc.aio.Channel) -> bytes:
        call: Any = channel.stream_stream(REFLECTION)
        answer: bytes = await call(iter([b"\x3a\x00"])).read()
        return answer

    with pytest.raises(grpc.aio.AioRpcError) as error:
        await list_services(served.channel)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async with serving(url, reflection=True) as open_minded:
        assert b"endcap.v1.RecommendationService" in await list_services(open_minded.channel)


async def test_fields_and_enum_values_of_a_newer_contract_are_ignored(served: Served) -> None:
    field_9999 = b"\xfa\xf0\x04\x03new"
    view = Event(event_id="1", type="view", visitor_id="eve", item_id="mug")
    record = RecordEventsRequest(events=[view], durability=99)  # type: ignore[arg-type]

    answer = await served.send(RECOMMEND, RecommendRequest(placement="home").SerializeToString() + field_9999)
    recorded = await served.send(RECORD_EVENTS, record.SerializeToString() + field_9999)

    assert [result.item_id for result in RecommendResponse.FromString(answer).results] == ["mug"]
    assert RecordEventsResponse.FromString(recorded).accepted_count == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_deadline_that_is_over_runs_no_strategy(url: str, blocking: Blocking, seconds: float) -> None:
    async with serving(url, strategy_timeout_seconds=5.0) as served:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await served.recommend("slow", timeout=seconds)
        await served.recommend("home")

    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert blocking.runs == 0


@pytest.mark.parametrize("options", [{"timeout": 0.001}, {"timeout": 0.3}, {}])
async def test_a_call_without_a_deadline_gets_the_servers_own(
    url: str, blocking: Blocking, options: dict[str, Any]
) -> None:
    async with serving(url, strategy_timeout_seconds=60.0, default_deadline_seconds=0.3) as served:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await served.recommend("slow", **options)

    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_health_answers_while_a_strategy_blocks_and_the_blocked_call_is_answered_without_it(
    url: str, blocking: Blocking
) -> None:
    async with serving(url, strategy_timeout_seconds=1.0) as served:
        health: Any = health_pb2_grpc.HealthStub(served.channel)
        blocked = asyncio.create_task(served.recommend("slow", timeout=10))
        await asyncio.to_thread(blocking.entered.wait)
        state = await health.Check(health_pb2.HealthCheckRequest())
        other = await served.recommend("home")
        was_in_flight = not blocked.done()
        answer = await blocked

    assert state.status == health_pb2.HealthCheckResponse.SERVING
    assert [result.item_id for result in other.results] == ["mug"]
    assert was_in_flight
    assert [result.item_id for result in answer.results] == ["mug"]
    assert answer.degraded
    assert [(part.strategy, part.cause) for part in answer.degradations] == [
        ("blocking", DEGRADATION_CAUSE_TIMED_OUT)
    ]


async def test_a_batch_waits_longer_for_a_strategy_than_a_single_call(url: str, blocking: Blocking) -> None:
    async with serving(url, strategy_timeout_seconds=0.05, default_deadline_seconds=30) as served:
        single = await served.recommend("slow", timeout=30)
        blocking.gate.set()
        await asyncio.sleep(0.1)  # for the batch of the call above to end
        blocking.gate.clear()
        each = RecommendRequest(placement="slow", visitor_id="eve")
        message = BatchRecommendRequest(requests=[each] * 3).SerializeToString()
        batch = asyncio.create_task(served.send(BATCH_RECOMMEND, message, timeout=30))
        await asyncio.sleep(0.3)
        blocking.gate.set()
        answers = BatchRecommendResponse.FromString(await batch).outcomes

    assert [part.cause for part in single.degradations] == [DEGRADATION_CAUSE_TIMED_OUT]
    assert [list(answer.response.degradations) for answer in answers] == [[], [], []]


async def test_a_call_too_many_is_rejected_at_once_with_when_to_come_back_and_health_still_answers(
    url: str, blocking: Blocking
) -> None:
    async with serving(url, strategy_timeout_seconds=60.0, max_concurrent_calls=1) as served:
        health: Any = health_pb2_grpc.HealthStub(served.channel)
        blocked = asyncio.create_task(served.recommend("slow", timeout=60))
        await asyncio.to_thread(blocking.entered.wait)
        error = await served.rejection(RECOMMEND, b"", timeout=60)
        state = await health.Check(health_pb2.HealthCheckRequest())
        blocking.gate.set()
        answer = await blocked

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"] == "500"
    assert state.status == health_pb2.HealthCheckResponse.SERVING
    assert [result.item_id for result in answer.results] == ["mug"]


async def test_calls_that_are_cancelled_make_room_for_others(url: str, blocking: Blocking) -> None:
    async with serving(url, strategy_timeout_seconds=60.0, max_concurrent_calls=4) as served:
        for _ in range(50):
            calls = [asyncio.create_task(served.recommend("slow", timeout=60)) for _ in range(4)]
            await served.rejection("/endcap.v1.RecommendationService/Guess", b"")  # the four are under way
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        blocking.gate.set()

        async def four_at_once() -> list[RecommendResponse | BaseException]:
            calls = (served.recommend("home") for _ in range(4))
            return await asyncio.gather(*calls, return_exceptions=True)

        answers = await four_at_once()
        async with asyncio.timeout(20):  # for the server to hear of the last cancellations
            while not all(isinstance(answer, RecommendResponse) for answer in answers):
                answers = await four_at_once()

    assert len(answers) == 4


@pytest.mark.parametrize("exception", [ValueError(CANARY), KeyError(CANARY), SystemError(CANARY)])
async def test_what_an_exception_says_stays_in_the_server(
    url: str, monkeypatch: pytest.MonkeyPatch, exception: Exception
) -> None:
    async def fail(self: Any, request: Any, context: Any) -> Any:
        raise exception from OSError(CANARY)

    monkeypatch.setattr(RecommendationServicer, "Recommend", fail)
    async with serving(url) as served:
        error = await served.rejection(RECOMMEND, b"")

    assert error.code() is grpc.StatusCode.INTERNAL
    assert (error.details() or "").startswith("internal error, id=")
    said = repr(
        (error.details(), error.initial_metadata(), error.trailing_metadata(), error.debug_error_string())
    )
    assert CANARY not in said


async def test_what_a_strategy_says_when_it_raises_stays_in_the_server(
    url: str, blocking: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(queries: Sequence[Query], catalog: CatalogView) -> list[Ranking]:
        raise ValueError(CANARY)

    monkeypatch.setattr(blocking, "recommend", fail)
    request = RecommendRequest(placement="slow", include_trace=True, include_reasons=True)
    async with serving(url) as served:
        answer = await served.send(RECOMMEND, request.SerializeToString())

    assert RecommendResponse.FromString(answer).degraded
    assert CANARY.encode() not in answer


async def test_a_request_cannot_forge_a_line_of_the_log(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(self: Any, request: RecommendRequest, context: Any) -> Any:
        raise ValueError(request.visitor_id)

    monkeypatch.setattr(RecommendationServicer, "Recommend", fail)
    configure_log("info")
    try:
        async with serving(url) as served:
            request = RecommendRequest(placement="home", visitor_id=FORGED).SerializeToString()
            await served.rejection(RECOMMEND, request)
    finally:
        structlog.reset_defaults()
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]

    assert "internal_error" in events
    assert "forged" not in events
