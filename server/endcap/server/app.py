"""Composition: settings in, a serving process out."""

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from endcap.catalog.database.engine import open_database
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.writer import EventWriter
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.errors import Unavailable
from endcap.server.api.draining import drain
from endcap.server.api.interceptor import CallInterceptor
from endcap.server.api.limits import MAX_INGEST_BYTES, MAX_METADATA_BYTES
from endcap.server.api.services import Parts, add_services
from endcap.server.maintenance import Maintenance, count, erase, prune, refresh
from endcap.server.metrics import Metrics
from endcap.server.models.files import BundleFiles
from endcap.server.models.loaded import LoadedModels
from endcap.server.models.registry import ModelRegistry
from endcap.server.process import settle
from endcap.server.recommending.lookups import Lookups
from endcap.server.recommending.pipeline import Pipeline
from endcap.server.serving.shops import Shops
from endcap.server.settings import Settings


_OPTIONS = (
    # A second server on the same port would otherwise take part of the traffic in silence.
    ("grpc.so_reuseport", 0),
    # The interceptor rejects a message that is too large with a clear error; this is the wall behind it.
    ("grpc.max_receive_message_length", MAX_INGEST_BYTES + 1024),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Clients ping every five seconds to notice a dead server.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 2_000),
)

_log = structlog.get_logger(__name__)


class Application:
    """A server, built and not listening yet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened = AsyncExitStack()
        self.port = 0
        """The port that it listens on, once started."""

    async def start(self) -> None:
        """Open the database, load every shop and listen; or close again what was opened.

        Raises:
            FailedPrecondition: The database has another schema than this release.
            Unavailable: The address is taken.
        """
        async with AsyncExitStack() as opened:
            parts, metrics = await self._open_parts(opened)
            health_servicer = await self._serve(parts, metrics, opened)
            self._begin_maintenance(parts, metrics, health_servicer, opened)
            if self._settings.metrics_port:
                metrics.serve(self._settings.metrics_port)
            await health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
            opened.push_async_callback(health_servicer.enter_graceful_shutdown)
            self._opened = opened.pop_all()
        _log.info("serving", address=self._settings.address, port=self.port)

    async def stop(self) -> None:
        """Reject new calls, let calls in flight finish, and write buffered data."""
        await self._opened.aclose()

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, and stop."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await self.start()
        settle()
        await stopping.wait()
        await self.stop()

    async def _open_parts(self, opened: AsyncExitStack) -> tuple[Parts, Metrics]:
        """Open the database and load every shop."""
        settings, metrics = self._settings, Metrics()
        host = PluginHost.discover()
        for failure in host.failures:
            _log.error("plugin_failed", plugin=failure.plugin.name, reason=failure.message)
        database = await open_database(settings.database_url)
        opened.push_async_callback(database.close)
        models = LoadedModels(host, settings.bundles_folder)
        shops = Shops(database, host, models, metrics, max_batch_size=settings.max_batch_size)
        metrics.watch_breakers(shops.breakers)
        await shops.refresh(view_max_age=settings.view_max_age_seconds)
        writer = EventWriter(database, shops.committed, on_lost=metrics.events_lost.inc)
        opened.push_async_callback(writer.close)
        exposures = ExposureLog(database, on_lost=metrics.exposures_lost.inc)
        opened.push_async_callback(exposures.close)
        registry = ModelRegistry(
            database,
            host,
            models,
            store=settings.bundle_store,
            kept=settings.kept_bundles,
        )
        parts = Parts(
            shops=shops,
            database=database,
            host=host,
            pipeline=Pipeline(Lookups(database), settings.strategy_timeout_seconds, metrics.rung),
            registry=registry,
            bundle_files=BundleFiles(settings.bundles_folder),
            writer=writer,
            exposures=exposures,
            seconds_per_request=settings.default_deadline_seconds,
        )
        return parts, metrics

    async def _serve(
        self, parts: Parts, metrics: Metrics, opened: AsyncExitStack
    ) -> health.aio.HealthServicer:
        """Listen, and return the servicer that reports health."""
        settings = self._settings
        interceptor = CallInterceptor(
            metrics,
            parts.shops.known,
            parts.shops.meet,
            max_concurrent_calls=settings.max_concurrent_calls,
            default_deadline_seconds=settings.default_deadline_seconds,
        )
        server = grpc.aio.server(interceptors=[interceptor], options=_OPTIONS)
        add_services(server, parts, reflected=settings.reflection)
        health_servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        try:
            self.port = server.add_insecure_port(settings.address)
        except RuntimeError as error:
            raise Unavailable(
                f"{settings.address} is taken: stop what listens there or choose another"
            ) from error
        await server.start()
        opened.push_async_callback(drain, server, interceptor, self.port, settings.drain_seconds)
        return health_servicer

    def _begin_maintenance(
        self,
        parts: Parts,
        metrics: Metrics,
        health_servicer: health.aio.HealthServicer,
        opened: AsyncExitStack,
    ) -> None:
        settings, shops, database = self._settings, parts.shops, parts.database

        async def set_health(is_well: bool) -> None:
            # Answers from memory go on; a load balancer that checks health sends callers to a healthy server.
            state = health_pb2.HealthCheckResponse
            await health_servicer.set("", state.SERVING if is_well else state.NOT_SERVING)

        maintenance = Maintenance(on_failure=metrics.maintenance_failed, on_health=set_health)
        opened.push_async_callback(maintenance.close)
        seconds, view_max_age = settings.refresh_seconds, settings.view_max_age_seconds
        maintenance.begin(
            "refresh",
            partial(refresh, shops, database, seconds=seconds, view_max_age=view_max_age),
            pause=seconds,
        )
        maintenance.begin("count", partial(count, shops), pause=seconds)
        maintenance.begin(
            "erase", partial(erase, database, shops.left_in_files, seconds=seconds), pause=seconds
        )
        if settings.prune_seconds:
            maintenance.begin(
                "prune",
                partial(
                    prune, database, seconds=settings.prune_seconds, on_failure=metrics.maintenance_failed
                ),
                pause=seconds,
            )
