"""The client against a server that fails as told. Run as a program, this file is that server."""

# ruff: noqa: N802 - gRPC names the methods of servicers

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from endcap.client import AsyncClient, Client, Options
from endcap.v1 import event_service_pb2, recommendation_service_pb2
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2_grpc import EventServiceServicer, add_EventServiceServicer_to_server
from endcap.v1.recommendation_service_pb2 import StreamRecommendRequest
from endcap.v1.recommendation_service_pb2_grpc import (
    RecommendationServiceServicer,
    add_RecommendationServiceServicer_to_server,
)
from endcap.v1.strategy_service_pb2 import ListStrategiesRequest


BEARER = "abc"


@dataclass
class Call:
    """One call as the server saw it."""

    metadata: dict[str, str | bytes]

    seconds: float
    """Time left; the client rounds it up on the wire."""

    event_ids: list[str] = field(default_factory=list)


class FakeServer(RecommendationServiceServicer, EventServiceServicer):
    """Fails once for each of ``failures``, then answers the methods that it has."""

    def __init__(self) -> None:
        self.failures: list[grpc.StatusCode] = []
        self.calls: list[Call] = []
        self.address = ""

    def Recommend(
        self, request: recommendation_service_pb2.RecommendRequest, context: grpc.ServicerContext
    ) -> recommendation_service_pb2.RecommendResponse:
        self._take(context)
        return recommendation_service_pb2.RecommendResponse(request_id=request.user_id)

    def BatchRecommend(
        self, request: recommendation_service_pb2.BatchRecommendRequest, context: grpc.ServicerContext
    ) -> recommendation_service_pb2.BatchRecommendResponse:
        self._take(context)
        return recommendation_service_pb2.BatchRecommendResponse()

    def StreamRecommend(
        self, request_iterator: Iterator[StreamRecommendRequest], context: grpc.ServicerContext
    ) -> Iterator[recommendation_service_pb2.StreamRecommendResponse]:
        self._take(context)
        for index, _ in enumerate(request_iterator):
            yield recommendation_service_pb2.StreamRecommendResponse(index=index)

    def RecordEvents(
        self, request: event_service_pb2.RecordEventsRequest, context: grpc.ServicerContext
    ) -> event_service_pb2.RecordEventsResponse:
        self._take(context, [event.event_id for event in request.events])
        return event_service_pb2.RecordEventsResponse(accepted_count=len(request.events))

    def _take(self, context: grpc.ServicerContext, event_ids: list[str] | None = None) -> None:
        metadata = dict(context.invocation_metadata())
        self.calls.append(Call(metadata, context.time_remaining(), event_ids or []))
        if self.failures:
            context.abort(self.failures.pop(0), "as the test wants it")


@contextmanager
def serving() -> Iterator[FakeServer]:
    """Serve on a free loopback port."""
    fake = FakeServer()  # type: ignore[abstract]
    options = [("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 100)]
    grpc_server = grpc.server(ThreadPoolExecutor(max_workers=2), options=options)
    add_RecommendationServiceServicer_to_server(fake, grpc_server)
    add_EventServiceServicer_to_server(fake, grpc_server)
    fake.address = f"127.0.0.1:{grpc_server.add_insecure_port('127.0.0.1:0')}"
    grpc_server.start()
    try:
        yield fake
    finally:
        grpc_server.stop(grace=None).wait()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    with Client(fake.address) as client:
        yield client


class TestClient:
    def test_a_call_names_the_shop_and_has_a_deadline(self, fake: FakeServer, client: Client) -> None:
        response = client.recommend("home", user_id="ann", page_size=4)

        assert response.request_id == "ann"
        [call] = fake.calls
        assert call.metadata["endcap-shop"] == "default"
        assert "authorization" not in call.metadata
        assert call.seconds == pytest.approx(2, abs=0.5)

    def test_the_options_decide_shop_token_and_deadline(self, fake: FakeServer) -> None:
        with Client(fake.address, Options(shop="toys", token=BEARER, deadline=5)) as client:
            client.recommend("home")

        [call] = fake.calls
        assert call.metadata["endcap-shop"] == "toys"
        assert call.metadata["authorization"] == f"Bearer {BEARER}"
        assert call.seconds == pytest.approx(5, abs=0.5)

    def test_a_call_may_choose_its_own_deadline_and_shop(self, fake: FakeServer, client: Client) -> None:
        client.recommend("home", deadline=9)
        client.recommendations.Recommend(
            recommendation_service_pb2.RecommendRequest(), metadata=(("endcap-shop", "toys"),)
        )

        assert fake.calls[0].seconds == pytest.approx(9, abs=0.5)
        assert fake.calls[1].metadata["endcap-shop"] == "toys"

    def test_a_stream_has_the_longer_deadline(self, fake: FakeServer, client: Client) -> None:
        requests = iter([StreamRecommendRequest(), StreamRecommendRequest()])

        indexes = [response.index for response in client.recommendations.StreamRecommend(requests)]

        assert indexes == [0, 1]
        assert fake.calls[0].seconds == pytest.approx(600, abs=5)
        assert fake.calls[0].metadata["endcap-shop"] == "default"

    def test_unavailable_is_tried_again(self, fake: FakeServer, client: Client) -> None:
        fake.failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE]

        client.recommend("home")

        assert len(fake.calls) == 3

    def test_attempts_are_bounded(self, fake: FakeServer, client: Client) -> None:
        fake.failures = [grpc.StatusCode.UNAVAILABLE] * 9

        with pytest.raises(grpc.RpcError) as error:
            client.recommend("home")

        assert code(error) == grpc.StatusCode.UNAVAILABLE
        assert len(fake.calls) == 3

    def test_one_attempt_means_no_retry(self, fake: FakeServer) -> None:
        fake.failures = [grpc.StatusCode.UNAVAILABLE]

        with Client(fake.address, Options(attempts=1)) as client, pytest.raises(grpc.RpcError):
            client.recommend("home")

        assert len(fake.calls) == 1

    @pytest.mark.parametrize(
        "status", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED], ids=str
    )
    def test_other_errors_are_not_tried_again(
        self, fake: FakeServer, client: Client, status: grpc.StatusCode
    ) -> None:
        fake.failures = [status]

        with pytest.raises(grpc.RpcError) as error:
            client.recommend("home")

        assert code(error) == status
        assert len(fake.calls) == 1

    def test_events_keep_their_identifiers_over_retries(self, fake: FakeServer, client: Client) -> None:
        fake.failures = [grpc.StatusCode.UNAVAILABLE]
        events = [Event(type="view", event_id="mine"), Event(type="view")]

        response = client.record_events(events)

        assert response.accepted_count == 2
        first, second = fake.calls
        assert first.event_ids == second.event_ids == ["mine", events[1].event_id]
        assert len(events[1].event_id) == 32

    def test_events_sent_through_the_stub_are_named_too(self, fake: FakeServer, client: Client) -> None:
        client.events.RecordEvents(event_service_pb2.RecordEventsRequest(events=[Event(type="view")]))

        [call] = fake.calls
        assert len(call.event_ids[0]) == 32

    def test_services_that_the_server_lacks_are_unimplemented(self, client: Client) -> None:
        with pytest.raises(grpc.RpcError) as error:
            client.strategies.ListStrategies(ListStrategiesRequest())

        assert code(error) == grpc.StatusCode.UNIMPLEMENTED

    def test_a_closed_client_makes_no_calls(self, fake: FakeServer) -> None:
        with Client(fake.address) as client:
            pass

        with pytest.raises(ValueError, match="closed"):
            client.recommend("home")


class TestAsyncClient:
    async def test_a_call_names_the_shop_and_has_a_deadline(self, fake: FakeServer) -> None:
        async with AsyncClient(fake.address, Options(token=BEARER)) as client:
            response = await client.recommend("home", user_id="ann")

        assert response.request_id == "ann"
        [call] = fake.calls
        assert call.metadata["endcap-shop"] == "default"
        assert call.metadata["authorization"] == f"Bearer {BEARER}"
        assert call.seconds == pytest.approx(2, abs=0.5)

    async def test_a_stream_has_the_longer_deadline(self, fake: FakeServer) -> None:
        async with AsyncClient(fake.address) as client:
            requests = [StreamRecommendRequest(), StreamRecommendRequest()]
            stream = client.recommendations.StreamRecommend(iter(requests))
            indexes = [response.index async for response in stream]

        assert indexes == [0, 1]
        assert fake.calls[0].seconds == pytest.approx(600, abs=5)

    async def test_unavailable_is_tried_again_and_events_keep_their_identifiers(
        self, fake: FakeServer
    ) -> None:
        fake.failures = [grpc.StatusCode.UNAVAILABLE]

        async with AsyncClient(fake.address) as client:
            await client.record_events([Event(type="view")])

        first, second = fake.calls
        assert first.event_ids == second.event_ids
        assert len(first.event_ids[0]) == 32

    async def test_other_errors_are_not_tried_again(self, fake: FakeServer) -> None:
        fake.failures = [grpc.StatusCode.INVALID_ARGUMENT]

        async with AsyncClient(fake.address) as client:
            with pytest.raises(grpc.RpcError) as error:
                await client.recommend("home", deadline=1)

        assert code(error) == grpc.StatusCode.INVALID_ARGUMENT
        assert len(fake.calls) == 1


class TestOptions:
    @pytest.mark.parametrize("wrong", [{"attempts": 0}, {"attempts": 6}, {"deadline": 0.0}])
    def test_values_out_of_range_are_rejected(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="must be"):
            Options(**wrong)


class TestAServerThatDied:
    def test_a_stopped_server_ends_a_call_at_its_deadline(self, process: "ServerProcess") -> None:
        with Client(process.address, Options(deadline=0.5)) as client:
            client.recommend("home")
            process.stop()
            seconds, status = time_of_failure(client, None)

        assert status == grpc.StatusCode.DEADLINE_EXCEEDED
        assert seconds < 1

    def test_a_stopped_server_is_noticed_long_before_a_long_deadline(self, process: "ServerProcess") -> None:
        options = Options(keepalive=0.5, keepalive_timeout=0.5, attempts=1)
        with Client(process.address, options) as client:
            client.recommend("home")
            process.stop()
            seconds, status = time_of_failure(client, 30)

        assert status == grpc.StatusCode.UNAVAILABLE
        assert seconds < 5


@dataclass
class ServerProcess:
    """The fake server in a process of its own."""

    id: int
    address: str

    def stop(self) -> None:
        """Freeze the process: its sockets stay open and nothing answers."""
        os.kill(self.id, signal.SIGSTOP)


@pytest.fixture
def process() -> Iterator[ServerProcess]:
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield ServerProcess(server.pid, server.stdout.readline().strip())
        finally:
            server.kill()


def time_of_failure(client: Client, deadline: float | None) -> tuple[float, grpc.StatusCode]:
    """Return how many seconds a call takes to fail, and how it fails."""
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        client.recommend("home", deadline=deadline)
    return time.monotonic() - start, code(error)


def code(error: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    """Return the status of a failed call."""
    status: grpc.StatusCode = error.value.code()
    return status


if __name__ == "__main__":
    with serving() as fake_server:
        print(fake_server.address, flush=True)
        time.sleep(60)
