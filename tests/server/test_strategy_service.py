"""What is installed, as a client of a real server sees it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from endcap.catalog.database.migration import migrate
from endcap.client import AsyncClient
from endcap.runtime.plugin_host import Plugin, PluginHost
from endcap.server.app import Application
from endcap.server.settings import Settings
from endcap.strategies import cold_start, popular
from endcap.v1.strategy_service_pb2 import GetStrategyRequest, ListStrategiesRequest
from endcap.v1.task_pb2 import TASK_FOR_YOU, TASK_RANK


def _broken() -> ModuleType:
    raise ValueError("a secret of the shop")


@pytest.fixture
async def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Application]:
    """A server with two strategies, and a plugin that cannot be imported."""
    plugins = [
        Plugin("popular", "endcap", "0.1.0", lambda: popular),
        Plugin("warm-up", "shelf-plugin", "1.2.0", lambda: cold_start),
        Plugin("broken", "shelf-plugin", "1.2.0", _broken),
    ]
    host = PluginHost(plugins)
    monkeypatch.setattr(PluginHost, "discover", lambda: host)
    url = f"sqlite:///{tmp_path}/endcap.db"
    await migrate(url)
    application = Application(
        Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1, reflection=True)
    )
    await application.start()
    yield application
    await application.stop()


async def test_strategies_come_by_name_with_the_plugins_that_failed(client: AsyncClient) -> None:
    listed = await client.strategies.ListStrategies(ListStrategiesRequest())

    assert [strategy.name for strategy in listed.strategies] == ["cold_start", "popular"]
    assert [(failed.plugin, failed.distribution, failed.reason) for failed in listed.failed_plugins] == [
        ("broken", "shelf-plugin 1.2.0", "IMPORT_FAILED")
    ]
    assert "secret" not in listed.failed_plugins[0].message


async def test_a_strategy_says_what_it_does_and_what_it_takes(client: AsyncClient) -> None:
    strategy = (await client.strategies.GetStrategy(GetStrategyRequest(strategy="cold_start"))).strategy

    assert strategy.description.endswith(".")
    assert list(strategy.tasks) == [TASK_FOR_YOU, TASK_RANK]
    assert (strategy.plugin, strategy.distribution) == ("warm-up", "shelf-plugin 1.2.0")
    new_days = json.loads(strategy.parameter_schema)["properties"]["new_days"]
    assert (new_days["type"], new_days["minimum"]) == ("number", 0)


@pytest.mark.parametrize(
    ("strategy", "code"),
    [
        ("unheard_of", grpc.StatusCode.NOT_FOUND),
        ("broken", grpc.StatusCode.NOT_FOUND),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("x" * 65, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_strategy_that_is_not_installed_is_not_found(
    client: AsyncClient, strategy: str, code: grpc.StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.strategies.GetStrategy(GetStrategyRequest(strategy=strategy))

    assert refused.value.code() is code


async def test_reflection_names_every_service_that_is_built(application: Application) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel:
        stub_of: Any = ServerReflectionStub  # its types know neither that it can be called nor this channel
        asked = stub_of(channel).ServerReflectionInfo(iter([ServerReflectionRequest(list_services="*")]))
        names = [service.name async for answer in asked for service in answer.list_services_response.service]

    assert {name for name in names if name.startswith("endcap.v1.")} == {
        f"endcap.v1.{name}Service"
        for name in ("Recommendation", "Event", "Catalog", "Placement", "Model", "Shop", "Strategy")
    }
