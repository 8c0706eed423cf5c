"""Where the parts meet: settings in, a serving process out."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack, suppress

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from endcap.catalog.database import open_database
from endcap.catalog.event_writer import EventWriter
from endcap.catalog.exposures import ExposureLog
from endcap.catalog.forgetting import erase_forgotten
from endcap.catalog.retention import prune_shop
from endcap.catalog.shops import list_shops
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.errors import EndcapError, Unavailable
from endcap.server.interceptors import CallInterceptor
from endcap.server.limits import MAX_INGEST_BYTES, MAX_METADATA_BYTES
from endcap.server.lookups import Lookups
from endcap.server.metrics import Metrics
from endcap.server.model_registry import ModelRegistry
from endcap.server.pipeline import Pipeline
from endcap.server.placement_editing import PlacementEditor
from endcap.server.servicers.catalog import CatalogServicer
from endcap.server.servicers.event import EventServicer
from endcap.server.servicers.model import ModelServicer
from endcap.server.servicers.placement import PlacementServicer
from endcap.server.servicers.recommendation import RecommendationServicer
from endcap.server.servicers.strategy import StrategyServicer
from endcap.server.settings import Settings
from endcap.server.shops import Shops
from endcap.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    experiment_service_pb2,
    experiment_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    placement_service_pb2,
    placement_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
    strategy_service_pb2,
    strategy_service_pb2_grpc,
)


_OPTIONS = (
    # A second server on the same port would otherwise take part of the traffic in silence.
    ("grpc.so_reuseport", 0),
    # The interceptor refuses a message that is too large with words; this is the wall behind it.
    ("grpc.max_receive_message_length", MAX_INGEST_BYTES + 1024),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Clients ping every five seconds to notice a dead server.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 2_000),
)

_REFUSING_SECONDS = 0.1
"""Time in which a stopping server still answers, so that calls on their way hear that it stops."""

_REST = 9
"""Rest between two erasures, in durations of the first: they hold tables that others want."""

_log = structlog.get_logger(__name__)


class Application:
    """A server, built and not listening yet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.port = 0
        """The port that it listens on, once started."""

    async def start(self) -> None:
        """Open the database, load every shop and listen; or close again what was opened.

        Raises:
            FailedPrecondition: The database has another schema than this release.
            Unavailable: The address is taken.
        """
        async with AsyncExitStack() as opened:
            await self._start(opened)
            self._opened = opened.pop_all()

    async def _start(self, opened: AsyncExitStack) -> None:
        settings = self._settings
        metrics = Metrics()
        host = PluginHost.discover()
        for failure in host.failures:
            _log.error("plugin_failed", plugin=failure.plugin.name, reason=failure.message)
        self._database = await open_database(settings.database_url)
        opened.push_async_callback(self._database.close)
        self._shops = Shops(self._database, host, metrics, max_batch_size=settings.max_batch_size)
        await self._shops.refresh(view_max_age=settings.view_max_age_seconds)
        self._writer = EventWriter(self._database, self._shops.committed, on_lost=metrics.events_lost)
        opened.push_async_callback(self._writer.close)
        self._exposures = ExposureLog(self._database, on_lost=metrics.exposures_lost)
        opened.push_async_callback(self._exposures.close)
        interceptor = CallInterceptor(
            metrics,
            max_concurrent_calls=settings.max_concurrent_calls,
            default_deadline_seconds=settings.default_deadline_seconds,
        )
        self._server = grpc.aio.server(interceptors=[interceptor], options=_OPTIONS)
        opened.push_async_callback(_drain, self._server, interceptor, settings.drain_seconds)
        registry = ModelRegistry(
            self._database,
            host,
            self._shops.models,
            store=settings.bundle_store,
            folder=settings.bundles_folder,
            kept=settings.kept_bundles,
        )
        pipeline = Pipeline(Lookups(self._database), settings.strategy_timeout_seconds, metrics.rung)
        self._add_services(pipeline, registry, host)
        try:
            self.port = self._server.add_insecure_port(settings.address)
        except RuntimeError as error:
            raise Unavailable(
                f"{settings.address} is taken: stop what listens there or choose another"
            ) from error
        await self._server.start()
        refreshing = asyncio.create_task(self._keep_fresh())
        opened.push_async_callback(_cancel, refreshing)
        opened.push_async_callback(_cancel, asyncio.create_task(self._keep_erasing()))
        if settings.prune_seconds:
            opened.push_async_callback(_cancel, asyncio.create_task(self._keep_pruned()))
        if settings.metrics_port:
            metrics.serve(settings.metrics_port)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        opened.push_async_callback(self._health.enter_graceful_shutdown)
        _log.info("serving", address=settings.address, port=self.port)

    async def stop(self) -> None:
        """Say that no more calls are wanted, let those in flight finish, write what waits."""
        await self._opened.aclose()

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, and stop."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await self.start()
        await stopping.wait()
        await self.stop()

    def _add_services(self, pipeline: Pipeline, registry: ModelRegistry, host: PluginHost) -> None:
        # The stubs call a servicer abstract that lacks methods; grpc answers those with UNIMPLEMENTED.
        server = self._server
        recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server(
            RecommendationServicer(
                self._shops,
                pipeline,
                self._exposures,
                seconds_per_request=self._settings.default_deadline_seconds,
            ),
            server,
        )
        event_service_pb2_grpc.add_EventServiceServicer_to_server(
            EventServicer(self._shops, self._writer), server
        )
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(
            CatalogServicer(self._shops, self._database), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelServicer(self._shops, self._database, registry), server
        )
        placement_service_pb2_grpc.add_PlacementServiceServicer_to_server(
            PlacementServicer(self._shops, self._database, PlacementEditor(self._database, host)), server
        )
        strategy_service_pb2_grpc.add_StrategyServiceServicer_to_server(StrategyServicer(host), server)
        experiment_service_pb2_grpc.add_ExperimentServiceServicer_to_server(
            experiment_service_pb2_grpc.ExperimentServiceServicer(),  # type: ignore[abstract]
            server,
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._settings.reflection:
            files = (
                recommendation_service_pb2,
                event_service_pb2,
                catalog_service_pb2,
                model_service_pb2,
                placement_service_pb2,
                strategy_service_pb2,
                experiment_service_pb2,
            )
            names = [
                service.full_name for file in files for service in file.DESCRIPTOR.services_by_name.values()
            ]
            reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._settings.refresh_seconds)
            try:
                await self._shops.refresh(view_max_age=self._settings.view_max_age_seconds)
            except EndcapError as error:
                _log.warning("refresh_failed", reason=str(error))
            if self._database.damaged:
                # Answers from memory go on; whoever looks at health sends callers to a server that is well.
                _log.error("database_damaged", remedy="restore it from a backup, and start again")
                await self._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _keep_erasing(self) -> None:
        left = self._shops.left_in_files
        while True:
            await left.wait()
            left.clear()
            started = time.monotonic()
            try:
                is_done = await erase_forgotten(self._database)
            except EndcapError as error:
                _log.warning("erasing_failed", reason=str(error))
                is_done = False
            if not is_done:
                left.set()
            took = time.monotonic() - started
            await asyncio.sleep(max(self._settings.refresh_seconds, _REST * took))

    async def _keep_pruned(self) -> None:
        while True:
            try:
                await self._prune()
            except EndcapError as error:
                _log.warning("prune_failed", reason=str(error))
            await asyncio.sleep(self._settings.prune_seconds)

    async def _prune(self) -> None:
        async with self._database.read() as connection:
            shops = await list_shops(connection=connection)
        for shop in shops:
            pruned = await prune_shop(self._database, shop.id, now=int(time.time() * 1000))
            if pruned.events or pruned.exposures:
                _log.info("pruned", shop=shop.id, events=pruned.events, exposures=pruned.exposures)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _drain(server: grpc.aio.Server, interceptor: CallInterceptor, seconds: float) -> None:
    # What waits in the transport when the server stops is answered CANCELLED, which clients do not repeat.
    interceptor.refuse_calls()
    await asyncio.sleep(_REFUSING_SECONDS)
    await server.stop(seconds)
