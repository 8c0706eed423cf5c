"""Instances: built once, out of the right models, and never in a circle."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from weakref import ref

import numpy as np
import pytest

from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import Plugin, PluginHost
from endcap.sdk import (
    CatalogView,
    Model,
    Query,
    Ranking,
    RegisterStrategy,
    Resources,
    Strategy,
    Task,
    Tensors,
    Vocabulary,
    hookimpl,
    parameter,
)
from endcap.sdk.errors import FailedPrecondition, InvalidInput, ModelMissing, NotFound
from endcap.sdk.testing import FakeModel


@dataclass(frozen=True)
class Depth:
    """Parameters."""

    depth: int = parameter(1, "How deep.", minimum=0)


class Built:
    """Remembers what it was built with."""

    tasks = frozenset({Task.FOR_YOU})

    def __init__(self, parameters: object, *parts: object) -> None:
        self.parameters = parameters
        self.parts = parts

    def recommend(self, queries: Sequence[Query], catalog: CatalogView) -> Sequence[Ranking]:
        raise NotImplementedError


Factory = Callable[[Resources, Any], object]


def host_of(factories: Mapping[str, Factory], parameters: type[Any] | None = Depth) -> PluginHost:
    @hookimpl
    def register_strategies(register: RegisterStrategy) -> None:
        for name, factory in factories.items():
            register(name, factory, parameters)  # type: ignore[arg-type]

    module = ModuleType("made")
    module.register_strategies = register_strategies  # type: ignore[attr-defined]
    return PluginHost([Plugin("made", "made", "1", lambda: module)])


def instances_of(models: Sequence[Model] = (), **factories: Factory) -> Instances:
    return Instances(host_of(factories), Generation.of(models))


def model(name: str, version: str = "1") -> FakeModel:
    def run(_inputs: Tensors) -> Tensors:
        return {"scores": np.zeros(1)}

    return FakeModel(name, Vocabulary("ab"), run, version=version)


def plain(_resources: Resources, parameters: Depth) -> Built:
    return Built(parameters)


def test_equal_parameters_share_one_instance() -> None:
    instances = instances_of(plain=plain)

    first = instances.get("plain")

    assert instances.get("plain", {"depth": 1}) is first
    assert instances.get("plain", {"depth": 1.0}) is first
    assert instances.get("plain", {"depth": 2}) is not first


def test_the_factory_gets_the_parameters() -> None:
    built = instances_of(plain=plain).get("plain", {"depth": 5})

    assert isinstance(built, Built)
    assert built.parameters == Depth(5)


@pytest.mark.parametrize("values", [{"dept": 1}, {"depth": -1}, {"depth": "1"}, {"depth": 1.5}])
def test_bad_parameters_are_rejected(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        instances_of(plain=plain).get("plain", values)


def test_an_unknown_strategy_is_not_found() -> None:
    with pytest.raises(NotFound, match="strategy 'fancy' does not exist: use one of plain"):
        instances_of(plain=plain).get("fancy")


def test_a_strategy_gets_the_models_of_its_generation() -> None:
    ease = model("ease")

    built = instances_of([ease], modelled=lambda resources, _: Built(None, resources.model("ease")))

    instance = built.get("modelled")
    assert isinstance(instance, Built)
    assert instance.parts == (ease,)


def test_a_missing_model_says_how_to_get_one() -> None:
    instances = instances_of([model("ease")], modelled=lambda resources, _: resources.model("sasrec"))

    with pytest.raises(ModelMissing, match=r"'modelled' needs a model 'sasrec'.*'endcap train sasrec'"):
        instances.get("modelled")


def test_a_composed_strategy_is_the_one_that_others_get() -> None:
    instances = instances_of(
        plain=plain, hybrid=lambda resources, _: Built(None, resources.strategy("plain", {"depth": 3}))
    )

    hybrid = instances.get("hybrid")

    assert isinstance(hybrid, Built)
    assert hybrid.parts == (instances.get("plain", {"depth": 3}),)


def test_the_models_behind_a_strategy_include_those_of_what_it_composes() -> None:
    ease, blend, other = model("ease"), model("blend"), model("other")
    instances = instances_of(
        [ease, blend, other],
        modelled=lambda resources, _: Built(None, resources.model("ease")),
        hybrid=lambda resources, _: Built(None, resources.model("blend"), resources.strategy("modelled")),
        plain=plain,
    )

    assert instances.models("hybrid") == (blend, ease)
    assert instances.models("modelled") == (ease,)
    assert instances.models("plain") == ()


def test_a_circle_is_rejected_and_named() -> None:
    instances = instances_of(
        entrance=lambda resources, _: resources.strategy("first"),
        first=lambda resources, _: resources.strategy("second"),
        second=lambda resources, _: resources.strategy("first"),
    )

    with pytest.raises(FailedPrecondition, match="in a circle: first → second → first"):
        instances.get("entrance")


def test_a_strategy_may_compose_itself_with_other_parameters() -> None:
    def nested(resources: Resources, parameters: Depth) -> Strategy:
        if not parameters.depth:
            return Built(parameters)
        return Built(parameters, resources.strategy("nested", {"depth": parameters.depth - 1}))

    outer = instances_of(nested=nested).get("nested", {"depth": 2})

    assert isinstance(outer, Built)
    assert outer.parameters == Depth(2)


@pytest.mark.parametrize("error", [ValueError("secret"), SystemExit(1), RecursionError("secret")])
def test_a_factory_that_raises_costs_only_its_own_strategy(error: BaseException) -> None:
    def broken(_resources: Resources, _parameters: object) -> Strategy:
        raise error

    instances = instances_of(broken=broken, plain=plain)

    with pytest.raises(FailedPrecondition, match=f"its plugin raised {type(error).__name__}$"):
        instances.get("broken")
    assert instances.get("plain")


@pytest.mark.parametrize("made", [None, "text", object()])
def test_a_factory_must_make_a_strategy(made: object) -> None:
    with pytest.raises(FailedPrecondition, match="must return an object with tasks, a frozenset of Task"):
        instances_of(broken=lambda _resources, _parameters: made).get("broken")


def test_threads_that_ask_at_once_get_one_instance() -> None:
    instances = instances_of(plain=plain)

    with ThreadPoolExecutor(8) as pool:
        built = set(pool.map(lambda _: instances.get("plain"), range(100)))

    assert len(built) == 1


def test_instances_go_with_their_generation() -> None:
    instances = instances_of(plain=plain)
    built = ref(instances.get("plain"))

    del instances

    assert built() is None


def test_a_generation_is_named_by_the_versions_in_it() -> None:
    ease, popular = model("ease"), model("popular")

    assert Generation.of([ease, popular]).id == Generation.of([popular, ease]).id
    assert Generation.of([ease, popular]).id != Generation.of([ease]).id
    assert Generation.of([ease]).id != Generation.of([model("ease", "2")]).id
