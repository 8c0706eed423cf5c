"""Strategies and the plugins that failed."""

import json

from endcap.runtime.plugin_host import FailedPlugin, Registration
from endcap.sdk.parameters import json_schema
from endcap.server.api.convert.placements import write_task
from endcap.v1 import strategy_pb2


def write_strategy(registration: Registration) -> strategy_pb2.Strategy:
    """Write a registered strategy."""
    return strategy_pb2.Strategy(
        name=registration.name,
        description=registration.description,
        tasks=[write_task(task) for task in sorted(registration.tasks)],
        parameter_schema=json.dumps(json_schema(registration.parameters)),
        plugin=registration.plugin.name,
        distribution=registration.plugin.source,
        scores=registration.scores,
    )


def write_failure(failure: FailedPlugin) -> strategy_pb2.FailedPlugin:
    """Write why a plugin could not be used."""
    return strategy_pb2.FailedPlugin(
        plugin=failure.plugin.name,
        distribution=failure.plugin.source,
        reason=failure.cause.value,
        message=failure.message,
    )
