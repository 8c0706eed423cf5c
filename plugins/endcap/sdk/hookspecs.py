"""Every hook that a plugin may implement.

A plugin is an importable module in the entry-point group ``endcap.strategies``; it implements a hook
by a function of the same name, marked ``@hookimpl``. Hooks run once, at start-up, and register
objects: requests call those objects directly.
"""

from typing import Any, Protocol

import pluggy

from endcap.sdk.strategy import StrategyFactory


PROJECT = "endcap"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class RegisterStrategy(Protocol):
    """The callback of ``register_strategies``, called once for each strategy."""

    def __call__(self, name: str, factory: StrategyFactory, parameters: type[Any] | None = None) -> None:
        """Offer one strategy.

        Args:
            name: What placements call it: lower-case words joined by ``_``.
            factory: Builds an instance; a class whose constructor takes resources and parameters will do.
            parameters: A frozen dataclass whose fields are made by ``parameter``; None when there are none.
        """


@hookspec
def register_strategies(register: RegisterStrategy) -> None:
    """Offer strategies to the host.

    Called once, at start-up, before the first query. A plugin that fails here, or offers a name that
    is taken, is listed as failed with its reason and stops nobody else; strategies that ship with
    Endcap win over others.

    Args:
        register: Takes a name, a factory and its parameters.
    """
