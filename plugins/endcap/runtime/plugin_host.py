"""The plugin host: finds plugins, calls their hooks once, and keeps what they registered."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from inspect import getdoc
from types import MappingProxyType
from typing import Any, Self

import pluggy

from endcap.sdk import NoParameters, StrategyFactory, Task, hookspecs
from endcap.sdk.errors import NotFound
from endcap.sdk.parameters import json_schema, read_parameters


ENTRY_POINT_GROUP = "endcap.strategies"
_BUILT_IN = "endcap"
_STRATEGY_NAME = re.compile(r"(?=.{1,64}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*")


class FailureCause(StrEnum):
    """The stable name of what is wrong with a plugin."""

    IMPORT_FAILED = "IMPORT_FAILED"
    UNKNOWN_HOOK = "UNKNOWN_HOOK"
    NAME_TAKEN = "NAME_TAKEN"
    INVALID_STRATEGY = "INVALID_STRATEGY"
    INCOMPATIBLE = "INCOMPATIBLE"


@dataclasses.dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that is installed and not loaded yet."""

    name: str
    """The name of its entry point."""

    distribution: str
    version: str

    load: Callable[[], object]
    """Imports the plugin and returns its module."""

    @property
    def source(self) -> str:
        """Distribution and version: ``endcap 0.1.0``."""
        return f"{self.distribution} {self.version}"


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """A strategy that a plugin offers."""

    name: str
    factory: StrategyFactory

    parameters: type[Any]
    """The frozen dataclass that describes its parameters."""

    plugin: Plugin

    @property
    def description(self) -> str:
        """One sentence about the strategy: the first line of the factory's docstring."""
        return (getdoc(self.factory) or "").partition("\n")[0]

    @property
    def tasks(self) -> frozenset[Task]:
        """The tasks that it answers, as far as its class says; empty when only an instance knows."""
        tasks = getattr(self.factory, "tasks", None)
        return tasks if isinstance(tasks, frozenset) else frozenset()

    @property
    def scores(self) -> bool:
        """Whether its class can score any item."""
        return callable(getattr(self.factory, "score", None))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class FailedPlugin:
    """A plugin that could not be used; none of its strategies is offered."""

    plugin: Plugin
    cause: FailureCause

    message: str
    """The fault and its remedy. Holds no text of a foreign exception, so it may reach a client."""

    error: BaseException | None
    """The exception of the plugin, for logs."""


class PluginHost:
    """The plugins of this process: what they offer, and which of them failed and why.

    A plugin counts whole or not at all: one bad registration fails all of its strategies. No plugin
    can stop another one.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        """Load plugins.

        Args:
            plugins: In order of precedence: the first to take a name keeps it.
        """
        registrations: dict[str, Registration] = {}
        failures: list[FailedPlugin] = []
        for plugin in plugins:
            try:
                registrations |= _load(plugin, registrations)
            except _PluginRejected as refusal:
                failures.append(FailedPlugin(plugin, refusal.cause, str(refusal), refusal.__cause__))
        self.registrations = MappingProxyType(dict(sorted(registrations.items())))
        """The registrations, by the name of the strategy."""
        self.failures = tuple(sorted(failures, key=lambda failure: failure.plugin.name))
        """The plugins that failed, by name."""

    @classmethod
    def discover(cls) -> Self:
        """Load every installed plugin of the entry-point group, those that ship with Endcap first."""
        found = [_plugin(entry_point) for entry_point in entry_points(group=ENTRY_POINT_GROUP)]
        return cls(
            sorted(found, key=lambda each: (each.distribution != _BUILT_IN, each.distribution, each.name))
        )

    def registration(self, strategy: str) -> Registration:
        """Return the registration of a strategy's name.

        Raises:
            NotFound: No plugin registered the name.
        """
        if strategy in self.registrations:
            return self.registrations[strategy]
        failed = [failure for failure in self.failures if failure.plugin.name == strategy]
        if failed:
            raise NotFound(
                f"strategy {strategy!r} is not available, for its plugin failed: {failed[0].message}"
            )
        offered = ", ".join(self.registrations) or "none"
        raise NotFound(f"strategy {strategy!r} does not exist: use one of {offered}, or install its plugin")


class _PluginRejected(Exception):
    def __init__(self, cause: FailureCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def _plugin(entry_point: EntryPoint) -> Plugin:
    distribution = entry_point.dist
    if distribution is None:
        return Plugin(entry_point.name, "unknown", "0", entry_point.load)
    return Plugin(entry_point.name, distribution.name, distribution.version, entry_point.load)


def _load(plugin: Plugin, taken: Mapping[str, Registration]) -> dict[str, Registration]:
    """Return the registrations of one plugin, which has a manager of its own: its errors harm no other."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    hooks = list(vars(manager.hook))
    try:
        manager.register(_import(plugin), plugin.name)
    except pluggy.PluginValidationError as error:
        raise _PluginRejected(
            FailureCause.INCOMPATIBLE,
            "a hook asks for arguments that this release does not give: compare it with the hook's reference",
        ) from error
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _PluginRejected(
            FailureCause.UNKNOWN_HOOK,
            f"it implements a hook that does not exist: the hooks are {', '.join(hooks)}",
        ) from error
    registrar = _Registrar(plugin, taken)
    try:
        manager.hook.register_strategies(register=registrar)
    except (KeyboardInterrupt, _PluginRejected):
        raise
    except BaseException as error:
        raise _PluginRejected(
            FailureCause.INVALID_STRATEGY,
            f"register_strategies raised {type(error).__name__}: mend the plugin",
        ) from error
    return registrar.registrations()


class _Registrar:
    """The ``register`` of one plugin."""

    def __init__(self, plugin: Plugin, taken: Mapping[str, Registration]) -> None:
        self._plugin = plugin
        self._taken = taken
        self._made: dict[str, Registration] = {}
        self._refusal: _PluginRejected | None = None

    def __call__(self, name: str, factory: StrategyFactory, parameters: type[Any] | None = None) -> None:
        schema = NoParameters if parameters is None else parameters
        try:
            _check_name(name, {**self._taken, **self._made})
            _check_factory(name, factory, schema)
        except _PluginRejected as refusal:
            # Remembered as well, for a plugin that catches every exception counts as failed all the same.
            self._refusal = refusal
            raise
        self._made[name] = Registration(name, factory, schema, self._plugin)

    def registrations(self) -> dict[str, Registration]:
        if self._refusal:
            raise self._refusal
        if not self._made:
            raise _PluginRejected(
                FailureCause.INVALID_STRATEGY,
                "it registers no strategy: mark register_strategies with @hookimpl and call register in it",
            )
        return self._made


def _import(plugin: Plugin) -> object:
    try:
        return plugin.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _import_failure(error) from error


def _import_failure(error: BaseException) -> _PluginRejected:
    missing = error.name if isinstance(error, ImportError) else None
    if missing and missing.partition(".")[0] == _BUILT_IN:
        return _PluginRejected(
            FailureCause.INCOMPATIBLE,
            f"it needs something of {missing} that this release does not have: install a release of the"
            " plugin that fits",
        )
    if missing and isinstance(error, ModuleNotFoundError):
        return _PluginRejected(
            FailureCause.IMPORT_FAILED,
            f"it needs the module {missing!r}, which is not installed: install it beside the plugin",
        )
    return _PluginRejected(
        FailureCause.IMPORT_FAILED,
        f"importing it raised {type(error).__name__}: import it in Python to see why",
    )


def _check_name(name: str, taken: Mapping[str, Registration]) -> None:
    if not isinstance(name, str) or not _STRATEGY_NAME.fullmatch(name):
        raise _PluginRejected(
            FailureCause.INVALID_STRATEGY,
            f"{name!r} cannot name a strategy: use lower-case words joined by _, at most 64 characters",
        )
    if name in taken:
        raise _PluginRejected(
            FailureCause.NAME_TAKEN,
            f"the strategy name {name!r} is taken by {taken[name].plugin.source}: choose another one",
        )


def _check_factory(name: str, factory: StrategyFactory, schema: type[Any]) -> None:
    if not callable(factory):
        raise _PluginRejected(
            FailureCause.INVALID_STRATEGY, f"the factory of {name!r} cannot be called: give a class"
        )
    try:
        # Exactly what is asked of the schema later: a description, and values that can be a cache's key.
        json_schema(schema)
        defaults = read_parameters(schema, {})
        hash(defaults)
        frozen = defaults.__dataclass_params__.frozen
    except Exception as error:
        raise _bad_schema(name) from error
    if not frozen:
        raise _bad_schema(name)


def _bad_schema(name: str) -> _PluginRejected:
    return _PluginRejected(
        FailureCause.INVALID_STRATEGY,
        f"the parameters of {name!r} must be a frozen dataclass whose fields are made by parameter()",
    )
