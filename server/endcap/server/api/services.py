"""The services of the contract, each with what answers its calls."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import grpc
from grpc_reflection.v1alpha import reflection

from endcap.catalog.database.engine import Database
from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.writer import EventWriter
from endcap.runtime.plugin_host import PluginHost
from endcap.server.admin.placements import PlacementEditor
from endcap.server.admin.shops import ShopEditor
from endcap.server.api.servicers.catalog import CatalogServicer
from endcap.server.api.servicers.event import EventServicer
from endcap.server.api.servicers.model import ModelServicer
from endcap.server.api.servicers.placement import PlacementServicer
from endcap.server.api.servicers.recommendation import RecommendationServicer
from endcap.server.api.servicers.shop import ShopServicer
from endcap.server.api.servicers.strategy import StrategyServicer
from endcap.server.models.files import BundleFiles
from endcap.server.models.registry import ModelRegistry
from endcap.server.recommending.pipeline import Pipeline
from endcap.server.serving.shops import Shops
from endcap.v1 import (
    audit_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    experiment_service_pb2_grpc,
    key_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    placement_service_pb2,
    placement_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
    report_service_pb2_grpc,
    search_service_pb2_grpc,
    segment_service_pb2_grpc,
    shop_service_pb2,
    shop_service_pb2_grpc,
    strategy_service_pb2,
    strategy_service_pb2_grpc,
)


_Service: TypeAlias = tuple[ModuleType, Callable[[Any, grpc.aio.Server], None], object]
"""The file of the contract that describes a service, what adds it to a server, and what answers its calls."""

# The stubs declare a servicer abstract that lacks methods; at run time such a method raises
# NotImplementedError, which callers receive as UNIMPLEMENTED.
_PLANNED: tuple[tuple[Callable[[Any, grpc.aio.Server], None], Callable[[], object]], ...] = (
    (audit_service_pb2_grpc.add_AuditServiceServicer_to_server, audit_service_pb2_grpc.AuditServiceServicer),
    (
        experiment_service_pb2_grpc.add_ExperimentServiceServicer_to_server,
        experiment_service_pb2_grpc.ExperimentServiceServicer,
    ),
    (key_service_pb2_grpc.add_KeyServiceServicer_to_server, key_service_pb2_grpc.KeyServiceServicer),
    (
        report_service_pb2_grpc.add_ReportServiceServicer_to_server,
        report_service_pb2_grpc.ReportServiceServicer,
    ),
    (
        search_service_pb2_grpc.add_SearchServiceServicer_to_server,
        search_service_pb2_grpc.SearchServiceServicer,
    ),
    (
        segment_service_pb2_grpc.add_SegmentServiceServicer_to_server,
        segment_service_pb2_grpc.SegmentServiceServicer,
    ),
)
"""The services of the contract that are not built yet: they answer, and reflection does not list them."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts that the services are made from."""

    shops: Shops
    database: Database
    host: PluginHost
    pipeline: Pipeline
    registry: ModelRegistry
    bundle_files: BundleFiles
    writer: EventWriter
    exposures: ExposureLog

    seconds_per_request: float
    """The time limit of each request of a batch or a stream, in seconds."""


def add_services(server: grpc.aio.Server, parts: Parts, *, reflected: bool) -> None:
    """Add all services to a server.

    Args:
        server: Not started yet.
        parts: The parts that the services call.
        reflected: Whether server reflection lists the services.
    """
    shops, database = parts.shops, parts.database
    services: list[_Service] = [
        (
            recommendation_service_pb2,
            recommendation_service_pb2_grpc.add_RecommendationServiceServicer_to_server,
            RecommendationServicer(  # type: ignore[abstract]  # see _PLANNED
                shops,
                parts.pipeline,
                parts.exposures,
                seconds_per_request=parts.seconds_per_request,
            ),
        ),
        (
            event_service_pb2,
            event_service_pb2_grpc.add_EventServiceServicer_to_server,
            EventServicer(shops, database, parts.writer),
        ),
        (
            catalog_service_pb2,
            catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server,
            CatalogServicer(shops, database),
        ),
        (
            model_service_pb2,
            model_service_pb2_grpc.add_ModelServiceServicer_to_server,
            ModelServicer(shops, database, parts.registry),
        ),
        (
            placement_service_pb2,
            placement_service_pb2_grpc.add_PlacementServiceServicer_to_server,
            PlacementServicer(  # type: ignore[abstract]  # see _PLANNED
                shops,
                database,
                PlacementEditor(database, parts.host, lambda shop: shops.get(shop).state.generation),
            ),
        ),
        (
            shop_service_pb2,
            shop_service_pb2_grpc.add_ShopServiceServicer_to_server,
            ShopServicer(shops, database, ShopEditor(database, parts.bundle_files)),
        ),
        (
            strategy_service_pb2,
            strategy_service_pb2_grpc.add_StrategyServiceServicer_to_server,
            StrategyServicer(parts.host),
        ),
    ]
    for _, add, servicer in services:
        add(servicer, server)
    for add, make_servicer in _PLANNED:
        add(make_servicer(), server)
    if reflected:
        names = [
            service.full_name
            for file, _, _ in services
            for service in file.DESCRIPTOR.services_by_name.values()
        ]
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
