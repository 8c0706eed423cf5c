"""Every shop in memory: what its answers are made from, and how that is kept fresh."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from endcap.catalog.bundles import list_models, swap_revisions
from endcap.catalog.database import Database
from endcap.catalog.events import Event, events_after
from endcap.catalog.histories import Histories
from endcap.catalog.loading import load_shop
from endcap.catalog.placement_changes import change_revisions
from endcap.catalog.placements import Placement, list_placements
from endcap.catalog.shops import MAX_EVENT_AGE_DAYS, get_shop, list_shops
from endcap.runtime.instances import Generation
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import CatalogView, Strategy
from endcap.sdk.errors import EndcapError, NotFound
from endcap.server.batcher import Batcher
from endcap.server.ladders import Ladder, LadderBuilder
from endcap.server.loaded_models import LoadedModels
from endcap.server.masks import Masks
from endcap.server.metrics import Metrics


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ShopState:
    """What one answer is made from; replaced whole, never changed."""

    view: CatalogView
    masks: Masks
    histories: Histories
    generation: Generation
    ladders: Mapping[str, Ladder]

    def ladder(self, placement: str) -> Ladder:
        """Return a placement's ladder.

        Raises:
            NotFound: The shop has no such placement.
        """
        if placement not in self.ladders:
            raise NotFound(f"there is no placement {placement!r}: use one of {', '.join(self.ladders)}")
        return self.ladders[placement]


@dataclass(slots=True, eq=False)
class Shop:
    """A shop, served."""

    id: str
    token_key: bytes
    state: ShopState
    loaded_at: float

    max_event_age_days: int = MAX_EVENT_AGE_DAYS
    """Age of the oldest event that callers may record."""

    catching_up: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while other processes' writes are taken in, so that many calls wait for one load."""

    @property
    def revision(self) -> int:
        """The last revision of the shop's events that is in memory, all earlier ones included."""
        return self.state.histories.revision


class Shops:
    """All shops of the server."""

    def __init__(
        self, database: Database, host: PluginHost, metrics: Metrics, *, max_batch_size: int
    ) -> None:
        self._database = database
        self._host = host
        self._metrics = metrics
        self._max_batch_size = max_batch_size
        self.models = LoadedModels(host)
        """Loads the bundles that the shops serve with."""
        self._shops: dict[str, Shop] = {}
        self._commits: dict[str, list[tuple[Sequence[Event], int]]] = {}  # of the shops that are being loaded
        self._refreshing = asyncio.Lock()

    def get(self, shop: str) -> Shop:
        """Return a shop.

        Raises:
            NotFound: There is none of that id.
        """
        if shop not in self._shops:
            raise NotFound(f"there is no shop {shop!r}: import a catalog into it first")
        return self._shops[shop]

    def committed(self, shop: str, events: Sequence[Event], revision: int) -> None:
        """Take in events that were just written, so that the next answer knows them."""
        if shop in self._commits:
            self._commits[shop].append((events, revision))
        if shop in self._shops:
            self._shops[shop].state.histories.apply(events, revision)

    async def refresh(self, *, view_max_age: float) -> None:
        """Take in what other processes wrote: events at once, everything else by loading the shop again.

        Args:
            view_max_age: Seconds after which a shop with new events is loaded again for its counts.
        """
        async with self._refreshing:
            async with self._database.read() as connection:
                stored = await list_shops(connection=connection)
            for about in stored:
                shop = self._shops.get(about.id)
                if shop is None:
                    self._shops[about.id] = await self._load(about.id)
                elif about.revision != shop.revision:
                    await self._catch_up(shop)
                elif time.monotonic() - shop.loaded_at > view_max_age:
                    async with shop.catching_up:
                        await self._reload(shop)

    async def reach(self, shop: Shop, revision: int, deadline: float) -> None:
        """Take in what a shop lacks of a revision, in the time there is; the caller sees whether it is there.

        A revision is stored before anybody is told of it, so one look at the database is enough.
        """
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                if shop.revision < revision:
                    await self._catch_up(shop)
        except TimeoutError:
            pass
        except EndcapError as error:
            _log.warning("catch_up_failed", shop=shop.id, reason=str(error))

    async def rebuild(self, shop: Shop, revision: int) -> None:
        """Serve with the bundles and placements stored now; ``revision`` is that of a change just written."""
        async with shop.catching_up:
            shop.state = await self._rebuilt(shop)
            self.committed(shop.id, (), revision)

    async def _catch_up(self, shop: Shop) -> None:
        """Append other processes' events, take over their bundles and placements; load again for all else."""
        async with shop.catching_up:
            async with self._database.read() as connection:
                about = await get_shop(connection=connection, shop=shop.id)
                news = await events_after(connection=connection, shop=shop.id, revision=shop.revision)
                rebuilds = await swap_revisions(connection=connection, shop=shop.id, revision=shop.revision)
                rebuilds |= await change_revisions(
                    connection=connection, shop=shop.id, revision=shop.revision
                )
            by_revision: dict[int, list[Event]] = {revision: [] for revision in rebuilds}
            for revision, event in news:
                by_revision.setdefault(revision, []).append(event)
            if by_revision.keys() >= set(range(shop.revision + 1, about.revision + 1)):
                if rebuilds:
                    shop.state = await self._rebuilt(shop)
                for revision, events in by_revision.items():
                    self.committed(shop.id, events, revision)
            else:
                await self._reload(shop)

    async def _reload(self, shop: Shop) -> None:
        loaded = await self._load(shop.id)
        shop.state, shop.loaded_at = loaded.state, loaded.loaded_at
        shop.max_event_age_days = loaded.max_event_age_days

    async def _load(self, shop_id: str) -> Shop:
        """Load a shop, with what is committed meanwhile; one load of a shop at a time."""
        commits = self._commits[shop_id] = []
        before = self._shops[shop_id].state.generation if shop_id in self._shops else Generation.of(())
        try:
            loaded = await load_shop(self._database, shop_id)
            generation, ladders = await self._serving(shop_id, before)
        finally:
            del self._commits[shop_id]
        for events, revision in commits:
            loaded.histories.apply(events, revision)
        state = ShopState(loaded.view, Masks(loaded.view), loaded.histories, generation, ladders)
        about = loaded.shop
        return Shop(shop_id, about.token_key, state, time.monotonic(), about.max_event_age_days)

    async def _rebuilt(self, shop: Shop) -> ShopState:
        generation, ladders = await self._serving(shop.id, shop.state.generation)
        return replace(shop.state, generation=generation, ladders=ladders)

    async def _serving(self, shop_id: str, before: Generation) -> tuple[Generation, Mapping[str, Ladder]]:
        """Return what a shop serves with: its active bundles, and its placements built over them."""
        async with self._database.read() as connection:
            models = await list_models(connection=connection, shop=shop_id)
            placements = await list_placements(connection=connection, shop=shop_id)
        generation = await self.models.generation(models, before)
        return generation, await asyncio.to_thread(self._ladders, placements, generation)

    def _ladders(self, placements: Sequence[Placement], generation: Generation) -> dict[str, Ladder]:
        builder = LadderBuilder(self._host, generation, self._batcher)
        return {placement.id: builder.ladder(placement) for placement in placements}

    def _batcher(self, name: str, strategy: Strategy) -> Batcher:
        return Batcher(name, strategy, max_batch_size=self._max_batch_size, observe_batch=self._metrics.batch)
