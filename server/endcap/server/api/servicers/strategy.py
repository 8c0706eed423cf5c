"""Lists the installed strategies."""

from endcap.catalog.fields.limits import check_id
from endcap.runtime.plugin_host import PluginHost
from endcap.server.api.call import RpcContext
from endcap.server.api.convert.strategies import write_failure, write_strategy
from endcap.v1 import strategy_service_pb2 as pb
from endcap.v1.strategy_service_pb2_grpc import StrategyServiceServicer


class StrategyServicer(StrategyServiceServicer):
    """Answers the calls of ``StrategyService``."""

    def __init__(self, host: PluginHost) -> None:
        self._host = host

    async def GetStrategy(
        self, request: pb.GetStrategyRequest, context: RpcContext
    ) -> pb.GetStrategyResponse:
        """Return one strategy."""
        check_id("strategy", request.strategy)
        registration = self._host.registration(request.strategy)
        return pb.GetStrategyResponse(strategy=write_strategy(registration))

    async def ListStrategies(
        self, request: pb.ListStrategiesRequest, context: RpcContext
    ) -> pb.ListStrategiesResponse:
        """Return all strategies, and all plugins that failed."""
        return pb.ListStrategiesResponse(
            strategies=map(write_strategy, self._host.registrations.values()),
            failed_plugins=map(write_failure, self._host.failures),
        )
