"""What the host takes from plugins, and what it does with broken ones."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import pytest

from endcap.runtime.plugin_host import ENTRY_POINT_GROUP, FailureCause, Plugin, PluginHost
from endcap.sdk import (
    CatalogView,
    NoParameters,
    Query,
    Ranking,
    RegisterStrategy,
    Resources,
    Task,
    hookimpl,
    parameter,
)
from endcap.sdk.errors import NotFound


class Anything:
    """Recommends anything.

    And says no more.
    """

    tasks = frozenset({Task.FOR_YOU})

    def __init__(self, _resources: Resources, _parameters: object) -> None:
        """It needs nothing."""

    def recommend(self, queries: Sequence[Query], _catalog: CatalogView) -> Sequence[Ranking]:
        raise NotImplementedError


@dataclass(frozen=True)
class Days:
    """Parameters."""

    days: int = parameter(7, "How many.", minimum=1)


@dataclass
class Thawed:
    """Parameters that can be changed."""

    days: int = parameter(7, "How many.")


@dataclass(frozen=True)
class Bare:
    """Parameters without descriptions."""

    days: int = 7


@dataclass(frozen=True)
class Required:
    """Parameters without a default."""

    days: int = field(metadata={"description": "How many.", "minimum": None, "maximum": None, "choices": ()})


@dataclass(frozen=True)
class Listed:
    """Parameters of a type that JSON Schema has no word for here."""

    days: tuple[int, ...] = field(default=(), metadata={"description": "", "minimum": None, "maximum": None})


def module(**members: object) -> ModuleType:
    made = ModuleType("made")
    vars(made).update(members)
    return made


def offering(*registrations: tuple[Any, ...]) -> Callable[[], ModuleType]:
    """Return the loader of a plugin that makes these registrations."""

    @hookimpl
    def register_strategies(register: RegisterStrategy) -> None:
        for registration in registrations:
            register(*registration)

    return lambda: module(register_strategies=register_strategies)


def plugin(load: Callable[[], object], name: str = "shelf") -> Plugin:
    return Plugin(name, "shelf-plugin", "1.2.0", load)


GOOD = plugin(offering(("good", Anything)), "good")


def failing(load: Callable[[], object]) -> tuple[FailureCause, str]:
    """Load a plugin between two good ones, see that it fails alone, and return why."""
    after = plugin(offering(("after", Anything)), "after")

    host = PluginHost([GOOD, plugin(load), after])

    assert list(host.registrations) == ["after", "good"]
    (failure,) = host.failures
    assert failure.plugin.name == "shelf"
    assert failure.plugin.source == "shelf-plugin 1.2.0"
    return failure.cause, failure.message


def test_hook_register_strategies_offers_strategies() -> None:
    host = PluginHost([plugin(offering(("newest", Anything, Days), ("any_of_all", Anything)))])

    newest = host.registration("newest")
    assert list(host.registrations) == ["any_of_all", "newest"]
    assert host.failures == ()
    assert (newest.name, newest.factory, newest.parameters) == ("newest", Anything, Days)
    assert newest.plugin.source == "shelf-plugin 1.2.0"
    assert host.registration("any_of_all").parameters is NoParameters


def test_a_registration_tells_what_its_class_says() -> None:
    registration = PluginHost([GOOD]).registration("good")

    assert registration.description == "Recommends anything."
    assert registration.tasks == {Task.FOR_YOU}
    assert not registration.scores


def test_a_factory_that_is_a_function_says_nothing_of_tasks() -> None:
    def build(resources: Resources, parameters: object) -> Anything:
        return Anything(resources, parameters)

    registration = PluginHost([plugin(offering(("built", build)))]).registration("built")

    assert registration.tasks == frozenset()
    assert registration.description == ""


def test_a_plugin_takes_only_the_arguments_that_it_needs() -> None:
    @hookimpl
    def register_strategies() -> None:
        """Offer nothing."""

    cause, _ = failing(lambda: module(register_strategies=register_strategies))

    assert cause == FailureCause.INVALID_STRATEGY


def importing(error: BaseException) -> Callable[[], object]:
    def load() -> object:
        raise error

    return load


@pytest.mark.parametrize(
    "error", [ValueError("secret"), SystemExit(1), GeneratorExit(), RecursionError(), SyntaxError("secret")]
)
def test_a_plugin_that_cannot_be_imported_fails_alone(error: BaseException) -> None:
    cause, message = failing(importing(error))

    assert cause == FailureCause.IMPORT_FAILED
    assert message == f"importing it raised {type(error).__name__}: import it in Python to see why"


def test_a_plugin_that_misses_a_module_says_which() -> None:
    cause, message = failing(importing(ModuleNotFoundError("No module", name="xgboost")))

    assert cause == FailureCause.IMPORT_FAILED
    assert message == "it needs the module 'xgboost', which is not installed: install it beside the plugin"


def test_a_plugin_of_another_release_is_incompatible() -> None:
    def load() -> object:
        from endcap.sdk import yet_to_come  # type: ignore[attr-defined]

        return yet_to_come

    cause, message = failing(load)

    assert cause == FailureCause.INCOMPATIBLE
    assert message.startswith("it needs something of endcap.sdk that this release does not have")


def test_an_interrupt_is_not_a_failure() -> None:
    with pytest.raises(KeyboardInterrupt):
        PluginHost([plugin(importing(KeyboardInterrupt()))])


def test_a_misspelt_hook_is_named_unknown() -> None:
    @hookimpl
    def register_strategy(register: RegisterStrategy) -> None:
        register("shelf", Anything)

    cause, message = failing(lambda: module(register_strategy=register_strategy))

    assert cause == FailureCause.UNKNOWN_HOOK
    assert message == "it implements a hook that does not exist: the hooks are register_strategies"


def test_a_hook_with_other_arguments_is_incompatible() -> None:
    @hookimpl
    def register_strategies(registry: RegisterStrategy) -> None:
        registry("shelf", Anything)

    cause, _ = failing(lambda: module(register_strategies=register_strategies))

    assert cause == FailureCause.INCOMPATIBLE


def test_a_hook_without_its_mark_offers_nothing() -> None:
    def register_strategies(register: RegisterStrategy) -> None:
        register("shelf", Anything)

    cause, message = failing(lambda: module(register_strategies=register_strategies))

    assert cause == FailureCause.INVALID_STRATEGY
    assert "mark register_strategies with @hookimpl" in message


@pytest.mark.parametrize("loaded", [None, "text", 7, object()])
def test_an_entry_point_that_is_no_plugin_offers_nothing(loaded: object) -> None:
    assert failing(lambda: loaded)[0] == FailureCause.INVALID_STRATEGY


@pytest.mark.parametrize("error", [ValueError("secret"), SystemExit(1)])
def test_a_hook_that_raises_fails_alone(error: BaseException) -> None:
    @hookimpl
    def register_strategies(register: RegisterStrategy) -> None:
        register("shelf", Anything)
        raise error

    cause, message = failing(lambda: module(register_strategies=register_strategies))

    assert cause == FailureCause.INVALID_STRATEGY
    assert message == f"register_strategies raised {type(error).__name__}: mend the plugin"


@pytest.mark.parametrize("name", ["", "Good", "1st", "a__b", "a_", "a-b", "a b", "a\n", "x" * 65, None, 7])
def test_a_bad_name_is_rejected(name: object) -> None:
    assert failing(offering((name, Anything)))[0] == FailureCause.INVALID_STRATEGY


def test_a_taken_name_stays_with_the_first() -> None:
    cause, message = failing(offering(("good", Anything)))

    assert cause == FailureCause.NAME_TAKEN
    assert message == "the strategy name 'good' is taken by shelf-plugin 1.2.0: choose another one"


def test_a_plugin_cannot_take_a_name_twice() -> None:
    assert failing(offering(("shelf", Anything), ("shelf", Anything)))[0] == FailureCause.NAME_TAKEN


def test_a_plugin_counts_whole_or_not_at_all() -> None:
    failing(offering(("shelf", Anything), ("Bad Name", Anything)))


def test_a_plugin_that_hides_its_mistake_fails_all_the_same() -> None:
    @hookimpl
    def register_strategies(register: RegisterStrategy) -> None:
        register("shelf", Anything)
        with suppress(Exception):
            register("good", Anything)

    assert failing(lambda: module(register_strategies=register_strategies))[0] == FailureCause.NAME_TAKEN


def test_a_factory_must_be_callable() -> None:
    assert failing(offering(("shelf", "Anything")))[0] == FailureCause.INVALID_STRATEGY


@pytest.mark.parametrize("schema", [Thawed, Bare, Required, Listed, dict, 7, Days()])
def test_parameters_must_be_a_frozen_dataclass_made_by_parameter(schema: object) -> None:
    cause, message = failing(offering(("shelf", Anything, schema)))

    assert cause == FailureCause.INVALID_STRATEGY
    assert message.startswith("the parameters of 'shelf' must be a frozen dataclass")


def test_an_unknown_strategy_is_not_found_and_the_offer_is_listed() -> None:
    with pytest.raises(
        NotFound, match="strategy 'bad' does not exist: use one of good, or install its plugin"
    ):
        PluginHost([GOOD]).registration("bad")


def test_the_strategy_of_a_failed_plugin_is_not_found_and_the_reason_is_told() -> None:
    host = PluginHost([plugin(importing(ModuleNotFoundError(name="xgboost")))])

    with pytest.raises(NotFound, match="its plugin failed: it needs the module 'xgboost'"):
        host.registration("shelf")


def test_failures_keep_what_was_raised_for_logs() -> None:
    error = ValueError("secret")

    (failure,) = PluginHost([plugin(importing(error))]).failures

    assert failure.error is error
    assert "secret" not in failure.message


def test_installed_plugins_are_found_and_those_of_endcap_come_first() -> None:
    installed = entry_points(group=ENTRY_POINT_GROUP).names

    host = PluginHost.discover()

    assert host.failures == ()
    assert {"ease", "item_knn", "popular", "recently_viewed"} <= set(host.registrations)
    if "similar_price" in installed:
        assert host.registration("similar_price").plugin.source == "endcap-similar-price 1.0.0"


def test_an_installed_plugin_cannot_take_a_name_of_endcap(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real distribution on the path, named to come first in the alphabet."""
    (tmp_path / "aaa_impostor.py").write_text(
        "from endcap.sdk import hookimpl\n\n\n@hookimpl\ndef register_strategies(register):\n"
        "    register('popular', print)\n"
    )
    metadata = tmp_path / "aaa_impostor-9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: aaa-impostor\nVersion: 9\n")
    (metadata / "entry_points.txt").write_text("[endcap.strategies]\nimpostor = aaa_impostor\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    host = PluginHost.discover()

    monkeypatch.delitem(sys.modules, "aaa_impostor")
    assert host.registration("popular").plugin.distribution == "endcap"
    assert [(failure.plugin.name, failure.cause) for failure in host.failures] == [
        ("impostor", FailureCause.NAME_TAKEN)
    ]
