"""Ladders: the placements of a shop with their strategies built, ready to be asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from endcap.catalog.configuration.placements import Placement
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Strategy, Task
from endcap.sdk.errors import EndcapError, InvalidInput, ModelMissing
from endcap.sdk.filters import Filter, parse_filter
from endcap.server.reranking import Rules, compile_rules
from endcap.server.serving.batcher import Batcher
from endcap.server.serving.failures import Failure


FLOOR = "popular"
"""The strategy appended to every ladder whose task it can answer; it serves from memory."""

NO_RULES = Rules(())

_Read = TypeVar("_Read")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Rung:
    """One strategy of a ladder: ready to be asked, or the reason why it is not."""

    strategy: str
    bundles: tuple[str, ...]

    batcher: Batcher | None
    """The batcher of the strategy; None where it cannot be asked."""

    failure: Failure | None = Failure.STRATEGY_MISSING
    """Why the strategy cannot be asked; None where its model was never trained, which degrades no answer."""

    detail: str = ""

    timeout: float | None = None
    """Seconds that the strategy may take; None for the server's own limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """A placement, with its strategies built."""

    placement: Placement
    """The placement as stored; of its ladder, filter and rules, the fields below are made."""

    rungs: tuple[Rung, ...]

    filter: Filter | None = None
    """The condition that every item must meet; None for none."""

    rules: Rules = NO_RULES


class LadderBuilder:
    """Builds the ladders of one generation; placements that name the same strategy share its batcher."""

    def __init__(
        self, host: PluginHost, generation: Generation, batcher: Callable[[str, Strategy], Batcher]
    ) -> None:
        self._instances = Instances(host, generation)
        self._make_batcher = batcher
        self._batchers: dict[int, Batcher] = {}

    def ladder(self, placement: Placement) -> Ladder:
        """Build a placement's ladder, with the floor under it."""
        rungs = [
            self._rung(
                rung.strategy,
                rung.parameters,
                placement.task,
                timeout=None if rung.timeout is None else rung.timeout / 1000,
            )
            for rung in placement.ladder
        ]
        if all(rung.strategy != FLOOR for rung in rungs):
            floor = self._rung(FLOOR, {}, placement.task)
            rungs += [floor] if floor.batcher else []
        return Ladder(
            placement,
            tuple(rungs),
            filter=_stored(placement, "filter", parse_filter, None) if placement.filter else None,
            rules=_stored(placement, "rules", compile_rules, NO_RULES),
        )

    def _rung(
        self, strategy: str, parameters: Mapping[str, object], task: Task, *, timeout: float | None = None
    ) -> Rung:
        try:
            instance = self._instances.get(strategy, parameters)
            models = self._instances.models(strategy, parameters)
            tasks = self._instances.tasks(strategy, parameters)
        except ModelMissing as error:
            failure = Failure.MODEL_MISSING if error.unloadable else None
            return Rung(strategy, (), None, failure, str(error))
        except EndcapError as error:
            return Rung(strategy, (), None, Failure.STRATEGY_MISSING, str(error))
        if task not in tasks:
            return Rung(strategy, (), None, detail=f"{strategy} does not answer the task {task}")
        if id(instance) not in self._batchers:
            self._batchers[id(instance)] = self._make_batcher(strategy, instance)
        bundles = tuple(f"{model.name}@{model.version}" for model in models)
        return Rung(strategy, bundles, self._batchers[id(instance)], timeout=timeout)


def _stored(placement: Placement, name: str, read: Callable[[Any], _Read], default: _Read) -> _Read:
    """Read a field of a placement.

    It was checked before it was stored; one that an older release let in must not stop the shop.
    """
    try:
        return read(getattr(placement, name))
    except InvalidInput as error:
        _log.error(f"placement_{name}_ignored", placement=placement.id, reason=str(error))
        return default
