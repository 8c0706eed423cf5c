"""The asyncio client."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self, Unpack

from grpc import aio

from endcap.client.async_interceptors import call_defaults
from endcap.client.options import Options
from endcap.client.requests import RecommendFields, name_events, recommend_request
from endcap.v1.catalog_service_pb2_grpc import CatalogServiceStub
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2 import Durability, RecordEventsRequest, RecordEventsResponse
from endcap.v1.event_service_pb2_grpc import EventServiceStub
from endcap.v1.model_service_pb2_grpc import ModelServiceStub
from endcap.v1.placement_service_pb2_grpc import PlacementServiceStub
from endcap.v1.recommendation_service_pb2 import RecommendResponse
from endcap.v1.recommendation_service_pb2_grpc import RecommendationServiceStub
from endcap.v1.shop_service_pb2_grpc import ShopServiceStub
from endcap.v1.strategy_service_pb2_grpc import StrategyServiceStub


class AsyncClient:
    """Calls an Endcap server from an event loop, the one it is made in. One serves a whole process.

    ::

        async with AsyncClient("localhost:50051") as client:
            response = await client.recommend("home", user_id="17850", page_size=4)

    Calls fail with ``grpc.RpcError``.
    """

    def __init__(self, address: str, options: Options | None = None) -> None:
        """Prepare a connection; it is made by the first call.

        Args:
            address: The server, as ``host:port`` or any gRPC target.
            options: How to call it; the defaults suit a server on this machine.
        """
        options = options or Options()
        arguments = options.channel_arguments()
        interceptors = call_defaults(options)
        if options.credentials is None:
            self._channel = aio.insecure_channel(address, arguments, interceptors=interceptors)
        else:
            self._channel = aio.secure_channel(
                address, options.credentials, arguments, interceptors=interceptors
            )
        self.recommendations = RecommendationServiceStub(self._channel)
        self.events = EventServiceStub(self._channel)
        self.catalog = CatalogServiceStub(self._channel)
        self.placements = PlacementServiceStub(self._channel)
        self.models = ModelServiceStub(self._channel)
        self.shops = ShopServiceStub(self._channel)
        self.strategies = StrategyServiceStub(self._channel)

    async def recommend(
        self, placement: str, *, deadline: float | None = None, **fields: Unpack[RecommendFields]
    ) -> RecommendResponse:
        """Return the items to show in one placement.

        Args:
            placement: Identifier of the placement.
            deadline: Seconds; None for that of the options.
            fields: Other fields of the request.
        """
        request = recommend_request(placement, fields)
        return await self.recommendations.Recommend(request, timeout=deadline)

    async def record_events(
        self,
        events: Iterable[Event],
        *,
        durability: Durability.ValueType = Durability.DURABILITY_DURABLE,
        deadline: float | None = None,
    ) -> RecordEventsResponse:
        """Store events; a bad one is among the ``rejections`` of the answer.

        Args:
            events: At most 1,000. One without an ``event_id`` is given it in place, so that calling
                again with the same events stores none twice.
            durability: How safe they must be before the call returns.
            deadline: Seconds; None for that of the options.
        """
        events = list(events)
        name_events(events)
        return await self.events.RecordEvents(
            RecordEventsRequest(events=events, durability=durability), timeout=deadline
        )

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
