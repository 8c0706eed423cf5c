"""Builds the state that a shop's answers are made from, and what follows it when something changes."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from endcap.catalog.configuration.bundles import list_models
from endcap.catalog.configuration.placements import Placement, list_placements
from endcap.catalog.database.engine import Database
from endcap.catalog.memory.histories import Histories
from endcap.catalog.memory.rows import TimedView
from endcap.runtime.instances import Generation
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import CatalogView
from endcap.sdk.filters import Filter
from endcap.server.models.loaded import LoadedModels
from endcap.server.serving.batcher import Batcher
from endcap.server.serving.ladders import Ladder, LadderBuilder
from endcap.server.serving.masks import Masks, MaskWorker
from endcap.server.serving.state import ShopState


class StateBuilder:
    """Builds the states of all shops, and keeps no state itself."""

    def __init__(
        self,
        database: Database,
        host: PluginHost,
        models: LoadedModels,
        *,
        max_batch_size: int,
        observe_batch: Callable[[str, int], None],
    ) -> None:
        """Build nothing yet.

        Args:
            database: Where bundles and placements are stored.
            host: Offers the strategies.
            models: Loads bundles.
            max_batch_size: Queries that one run of a strategy answers at most.
            observe_batch: Called with a strategy and the size of each batch.
        """
        self._database = database
        self._host = host
        self._models = models
        self._batcher = partial(Batcher, max_batch_size=max_batch_size, observe_batch=observe_batch)
        self._mask_worker = MaskWorker()

    async def build(
        self, shop: str, timed_view: TimedView, histories: Histories, before: Generation
    ) -> ShopState:
        """Return the state of a shop that was just loaded; models of the generation before are kept."""
        generation, ladders = await self._configured(shop, before)
        masks = await self._masks(timed_view.view, ladders)
        return ShopState(timed_view, masks, histories, generation, ladders)

    async def reconfigured(self, shop: str, state: ShopState) -> ShopState:
        """Return a state with the bundles and placements that are stored now."""
        generation, ladders = await self._configured(shop, state.generation)
        await state.masks.hold(_conditions(ladders))
        return replace(state, generation=generation, ladders=ladders)

    async def with_timed_view(self, state: ShopState, timed_view: TimedView) -> ShopState:
        """Return a state with other items; histories get the events that waited for new ones."""
        masks = state.masks
        if timed_view.view is not state.view:
            masks = await self._masks(timed_view.view, state.ladders)
            state.histories.follow(timed_view.view.vocabulary)
        return replace(state, timed_view=timed_view, masks=masks)

    async def _configured(self, shop: str, before: Generation) -> tuple[Generation, Mapping[str, Ladder]]:
        async with self._database.read() as connection:
            models = await list_models(connection=connection, shop=shop)
            placements = await list_placements(connection=connection, shop=shop)
        generation = await self._models.generation(models, before)
        return generation, await asyncio.to_thread(self._ladders, placements, generation)

    def _ladders(self, placements: Sequence[Placement], generation: Generation) -> dict[str, Ladder]:
        builder = LadderBuilder(self._host, generation, self._batcher)
        return {placement.id: builder.ladder(placement) for placement in placements}

    async def _masks(self, view: CatalogView, ladders: Mapping[str, Ladder]) -> Masks:
        masks = Masks(view, self._mask_worker)
        await masks.hold(_conditions(ladders))
        return masks


def _conditions(ladders: Mapping[str, Ladder]) -> Iterator[Filter]:
    """Yield the filters of placements, and of their rules at any time."""
    for ladder in ladders.values():
        if ladder.filter is not None:
            yield ladder.filter
        yield from ladder.rules.conditions
