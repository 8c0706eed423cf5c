"""Strategy instances: immutable, built once for a shop, a generation, a strategy and its parameters."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import RLock
from types import MappingProxyType
from typing import Any, Protocol, Self

from endcap.runtime.plugin_host import Registration
from endcap.sdk import Model, Strategy, Task
from endcap.sdk.errors import EndcapError, FailedPrecondition, ModelMissing
from endcap.sdk.parameters import read_parameters


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """The models that a shop serves with at one moment."""

    id: str
    """Equal for equal versions of the same models."""

    models: Mapping[str, Model]
    """The active models, by name."""

    unloadable: frozenset[str] = frozenset()
    """Names of the models that are active and cannot be loaded."""

    @classmethod
    def of(cls, models: Iterable[Model], *, unloadable: Iterable[str] = ()) -> Self:
        """Make a generation of models that have one name each."""
        by_name = {model.name: model for model in models}
        versions = "\n".join(f"{name} {by_name[name].version}" for name in sorted(by_name))
        return cls(
            hashlib.sha256(versions.encode()).hexdigest()[:16],
            MappingProxyType(by_name),
            frozenset(unloadable),
        )


@dataclass(frozen=True, slots=True)
class _InstanceKey:
    strategy: str
    parameters: Any


@dataclass(frozen=True, slots=True)
class _Built:
    strategy: Strategy
    tasks: frozenset[Task]
    models: Mapping[str, Model]


class StrategyOffer(Protocol):
    """The strategies to build from: a ``PluginHost``, or what stands before one."""

    def registration(self, strategy: str) -> Registration:
        """Return the registration of a strategy's name.

        Raises:
            NotFound: No plugin registered the name.
        """


class Instances:
    """The instances of one shop and one generation; drop it together with the generation.

    Safe to call from several threads.
    """

    def __init__(self, host: StrategyOffer, generation: Generation) -> None:
        self.generation = generation
        self._host = host
        self._built: dict[_InstanceKey, _Built] = {}
        self._building = RLock()

    def get(self, strategy: str, parameters: Mapping[str, Any] | None = None) -> Strategy:
        """Return an instance, which is built when it is asked for the first time.

        Args:
            strategy: The name it was registered under.
            parameters: Values by name; what is left out has its default.

        Raises:
            NotFound: No plugin offers the strategy.
            InvalidInput: A parameter is unknown or out of range.
            ModelMissing: The strategy needs a model that the generation does not hold.
            FailedPrecondition: Strategies compose each other in a circle, or the plugin failed to build it.
        """
        return self._get(strategy, parameters or {}, ()).strategy

    def tasks(self, strategy: str, parameters: Mapping[str, Any] | None = None) -> frozenset[Task]:
        """Return the tasks that an instance answers, as it said when it was built.

        Raises: As ``get``.
        """
        return self._get(strategy, parameters or {}, ()).tasks

    def models(self, strategy: str, parameters: Mapping[str, Any] | None = None) -> tuple[Model, ...]:
        """Return the models behind an instance, those of the strategies that it composes included, by name.

        Raises: As ``get``.
        """
        models = self._get(strategy, parameters or {}, ()).models
        return tuple(models[name] for name in sorted(models))

    def _get(self, strategy: str, parameters: Mapping[str, Any], above: tuple[_InstanceKey, ...]) -> _Built:
        registration = self._host.registration(strategy)
        key = _InstanceKey(strategy, read_parameters(registration.parameters, parameters))
        with self._building:
            if key not in self._built:
                if key in above:
                    circle = " → ".join(each.strategy for each in (*above[above.index(key) :], key))
                    raise FailedPrecondition(f"strategies compose each other in a circle: {circle}")
                self._built[key] = self._build(key, (*above, key))
            return self._built[key]

    def _build(self, key: _InstanceKey, above: tuple[_InstanceKey, ...]) -> _Built:
        factory = self._host.registration(key.strategy).factory
        resources = _Resources(self, above)
        try:
            instance = factory(resources, key.parameters)
            tasks = _tasks_of(instance)
        except ModelMissing as error:
            # Also where the strategy has put up with each of its models being missing, and says so of all.
            error.unloadable = error.unloadable or resources.unloadable
            raise
        except (EndcapError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise FailedPrecondition(
                f"strategy {key.strategy!r} cannot be built: its plugin raised {type(error).__name__}"
            ) from error
        if tasks is None:
            raise FailedPrecondition(
                f"strategy {key.strategy!r} cannot be built: its factory must return an object with tasks, a"
                " frozenset of Task, and recommend"
            )
        return _Built(instance, tasks, MappingProxyType(resources.models))


def _tasks_of(instance: object) -> frozenset[Task] | None:
    """Return the tasks of a strategy, None where it is none; read once, for the next time may raise."""
    tasks = getattr(instance, "tasks", None)
    names_tasks = isinstance(tasks, frozenset) and all(isinstance(task, Task) for task in tasks)
    return tasks if names_tasks and callable(getattr(instance, "recommend", None)) else None


class _Resources:
    """The resources of one factory; they know the instances whose building led here."""

    def __init__(self, instances: Instances, above: tuple[_InstanceKey, ...]) -> None:
        self._instances = instances
        self._above = above
        self.models: dict[str, Model] = {}
        """The parameters of the instance, by name."""
        self.unloadable = False
        """Whether it asked for a model that is active and cannot be loaded."""

    def model(self, name: str) -> Model:
        generation = self._instances.generation
        models = generation.models
        if name not in models:
            if name in generation.unloadable:
                self.unloadable = True
                raise ModelMissing(
                    f"strategy {self._above[-1].strategy!r} needs the model {name!r}, whose active bundle"
                    " cannot be loaded: see the log for why, and activate another version"
                )
            raise ModelMissing(
                f"strategy {self._above[-1].strategy!r} needs a model {name!r} and the shop has none active:"
                f" make one with 'endcap train {name}' and activate it"
            )
        self.models[name] = models[name]
        return models[name]

    def strategy(self, name: str, parameters: Mapping[str, Any] | None = None) -> Strategy:
        try:
            built = self._instances._get(name, parameters or {}, self._above)  # noqa: SLF001
        except ModelMissing as error:
            self.unloadable = self.unloadable or error.unloadable
            raise
        self.models |= built.models
        return built.strategy
