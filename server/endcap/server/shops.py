"""Every shop in memory: what its answers are made from, and how that is kept fresh."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from endcap.catalog.bundles import list_models
from endcap.catalog.database import Database
from endcap.catalog.events import Event
from endcap.catalog.forgetting import Forgotten
from endcap.catalog.histories import Histories
from endcap.catalog.loading import load_shop
from endcap.catalog.news import read_news
from endcap.catalog.placements import Placement, list_placements
from endcap.catalog.revisions import JUMP
from endcap.catalog.shops import MAX_EVENT_AGE_DAYS, list_shops
from endcap.catalog.view_updates import Stock, stock_at, update_stock
from endcap.runtime.instances import Generation
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import CatalogView, History, Rows, Strategy
from endcap.sdk.errors import EndcapError, NotFound
from endcap.sdk.filters import Filter
from endcap.server.batcher import Batcher
from endcap.server.ladders import Ladder, LadderBuilder
from endcap.server.loaded_models import LoadedModels
from endcap.server.masks import Masks, MaskWorker
from endcap.server.metrics import Metrics
from endcap.server.patience import answer_within
from endcap.server.serving.breaker import BreakerState


_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class ShopState:
    """What one answer is made from; replaced whole, never changed."""

    stock: Stock
    masks: Masks
    histories: Histories
    """Shared with later states, so it may hold events of items that the view does not."""

    generation: Generation
    ladders: Mapping[str, Ladder]

    @property
    def view(self) -> CatalogView:
        """The view of the items."""
        return self.stock.view

    def history(self, user_id: str | None, visitor_id: str | None) -> History:
        """Return the events of a person that concern items of the view, as ``Histories.of`` has them."""
        history = self.histories.of(user_id, visitor_id)
        held = history.rows < len(self.view)
        if held.all():
            return history
        return History(history.rows[held], history.types[held], history.times[held])

    def seen(self, user_id: str | None, visitor_id: str | None, *, types: Sequence[str], since: int) -> Rows:
        """Return the rows of the view that a person has seen, as ``Histories.seen`` has them."""
        seen = self.histories.seen(user_id, visitor_id, types=types, since=since)
        return seen[seen < len(self.view)]

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
    def stock(self) -> Stock:
        """The items that are served."""
        return self.state.stock

    @property
    def revision(self) -> int:
        """The last revision of the shop that is in memory, all earlier ones included."""
        return self.state.histories.revision


class Shops:
    """All shops of the server."""

    def __init__(
        self,
        database: Database,
        host: PluginHost,
        models: LoadedModels,
        metrics: Metrics,
        *,
        max_batch_size: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._host = host
        self._metrics = metrics
        self._max_batch_size = max_batch_size
        self._clock = clock
        self.models = models
        """Loads the bundles that the shops serve with."""
        self._mask_worker = MaskWorker()
        self._shops: dict[str, Shop] = {}
        self._commits: dict[str, list[tuple[Sequence[Event], int]]] = {}  # of the shops that are being loaded
        self._refreshing = asyncio.Lock()
        self.left_in_files = asyncio.Event()
        """Set while the database's files may hold people whom this server forgot, or one before it."""
        self.left_in_files.set()

    def get(self, shop: str) -> Shop:
        """Return a shop.

        Raises:
            NotFound: There is none of that id.
        """
        if shop not in self._shops:
            raise NotFound(f"there is no shop {shop!r}: import a catalog into it first")
        return self._shops[shop]

    def acquaintances(self, shop: str) -> Histories | None:
        """Return the people of a shop, if it is in memory."""
        return self._shops[shop].state.histories if shop in self._shops else None

    def committed(self, shop: str, events: Sequence[Event], revision: int) -> None:
        """Take in events that were just written, so that the next answer knows them."""
        if shop in self._commits:
            self._commits[shop].append((events, revision))
        if shop in self._shops:
            self._shops[shop].state.histories.apply(events, revision)

    def breakers(self) -> Iterator[tuple[str, BreakerState]]:
        """Yield the strategy and the state of each circuit breaker; other threads may ask."""
        for shop in tuple(self._shops.values()):
            for ladder in shop.state.ladders.values():
                for rung in ladder.rungs:
                    if rung.batcher is not None:
                        yield rung.strategy, rung.batcher.breaker.state

    async def refresh(self, *, view_max_age: float) -> None:
        """Take in what other processes wrote, and let items come and go whose time has come.

        Args:
            view_max_age: Seconds after which a shop is loaded again for its counts.
        """
        async with self._refreshing:
            held = {shop.id: shop.revision for shop in self._shops.values()}
            async with self._database.read() as connection:
                stored = await list_shops(connection=connection)
            for gone in self._shops.keys() - {about.id for about in stored}:
                self.close(gone)
            for about in stored:
                shop = self._shops.get(about.id)
                if shop is not None and shop.token_key != about.token_key:  # deleted, and created anew
                    self.close(shop.id)
                    shop = None
                if shop is None:
                    self._shops[about.id] = await self._load(about.id)
                    continue
                await self._catch_up(shop, about.revision)
                async with shop.catching_up:
                    # What was held before the look must be there, unless a backup was restored.
                    went_back = about.revision < held[about.id]
                    if went_back:
                        self.left_in_files.set()  # the backup may have held people who were deleted since
                    if went_back or time.monotonic() - shop.loaded_at > view_max_age:
                        await self._reload(shop)
                    elif shop.stock.changes_at <= self._now():
                        view, schedule = shop.stock.view, shop.stock.schedule
                        await self._serve(
                            shop, await asyncio.to_thread(stock_at, view, schedule, self._now())
                        )

    async def open(self, shop: str) -> None:
        """Serve a shop that was just created.

        Raises:
            NotFound: There is no such shop.
        """
        async with self._refreshing:
            if shop not in self._shops:
                self._shops[shop] = await self._load(shop)

    def close(self, shop: str) -> None:
        """Serve a shop no longer that was deleted, and forget it."""
        self._shops.pop(shop, None)
        self.left_in_files.set()  # the files may hold its people

    async def reach(self, shop: Shop, revision: int, deadline: float) -> None:
        """Take in what a shop lacks of a revision, in the time there is; the caller sees whether it is there.

        A revision is stored before anybody is told of it, so one look at the database is enough.
        """
        try:
            await answer_within(deadline - time.monotonic(), self._catch_up(shop, revision))
        except TimeoutError:
            pass
        except EndcapError as error:
            _log.warning("catch_up_failed", shop=shop.id, reason=str(error))

    async def forget(self, shop: Shop, forgotten: Forgotten) -> None:
        """Take people out of memory who are not in the database any more."""
        self.left_in_files.set()
        people = forgotten.people
        async with shop.catching_up:  # what is being loaded may know them still
            shop.state.histories.forget(people.users, people.visitors)
            self.committed(shop.id, (), forgotten.revision)

    async def _catch_up(self, shop: Shop, revision: int) -> None:
        """Take in others' events, items, bundles and placements up to a revision; load again for all else."""
        if shop.revision >= revision:
            return
        async with shop.catching_up:
            if shop.revision >= revision:  # somebody who waited before has taken it in
                return
            async with self._database.read() as connection:
                news = await read_news(connection=connection, shop=shop.id, revision=shop.revision)
            stock: Stock | None = shop.stock
            if news.items:
                stock = await asyncio.to_thread(
                    update_stock, shop.stock, news.shop, news.items, now=self._now()
                )
            if stock is None or len(news.revisions) < news.shop.revision - shop.revision:
                if news.shop.revision - shop.revision > JUMP // 2:
                    self.left_in_files.set()  # a backup that was restored may have held people deleted since
                await self._reload(shop)
                return
            if news.rebuilds:
                shop.state = await self._rebuilt(shop)
            await self._serve(shop, stock)
            for known in news.revisions:
                self.committed(shop.id, news.events.get(known, ()), known)

    async def _reload(self, shop: Shop) -> None:
        loaded = await self._load(shop.id)
        shop.state, shop.loaded_at = loaded.state, loaded.loaded_at
        shop.max_event_age_days = loaded.max_event_age_days

    async def _load(self, shop_id: str) -> Shop:
        """Load a shop, with what is committed meanwhile; one load of a shop at a time."""
        commits = self._commits[shop_id] = []
        before = self._shops.get(shop_id)
        revision_before = 0 if before is None else before.revision
        try:
            loaded = await load_shop(self._database, shop_id, now=self._now())
            about, stock = loaded.shop, loaded.stock
            if before is not None and about.revision >= revision_before:
                # What was computed from the view before holds for the items that have not changed.
                stock = replace(stock, view=replace(stock.view, lineage=before.state.view.lineage))
            generation, ladders = await self._serving(
                shop_id, Generation.of(()) if before is None else before.state.generation
            )
            masks = await self._masks(stock.view, ladders)
        finally:
            del self._commits[shop_id]
        for events, revision in commits:
            loaded.histories.apply(events, revision)
        state = ShopState(stock, masks, loaded.histories, generation, ladders)
        return Shop(shop_id, about.token_key, state, time.monotonic(), about.max_event_age_days)

    async def _rebuilt(self, shop: Shop) -> ShopState:
        generation, ladders = await self._serving(shop.id, shop.state.generation)
        await shop.state.masks.hold(_conditions(ladders))
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

    async def _serve(self, shop: Shop, stock: Stock) -> None:
        """Answer from other items from now on; histories get the events that waited for new ones."""
        state = shop.state
        masks = state.masks
        if stock.view is not state.view:
            masks = await self._masks(stock.view, state.ladders)
            state.histories.follow(stock.view.vocabulary)
        shop.state = replace(shop.state, stock=stock, masks=masks)

    async def _masks(self, view: CatalogView, ladders: Mapping[str, Ladder]) -> Masks:
        masks = Masks(view, self._mask_worker)
        await masks.hold(_conditions(ladders))
        return masks

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _batcher(self, name: str, strategy: Strategy) -> Batcher:
        return Batcher(name, strategy, max_batch_size=self._max_batch_size, observe_batch=self._metrics.batch)


def _conditions(ladders: Mapping[str, Ladder]) -> Iterator[Filter]:
    """Yield the filters of placements, and of their rules at any time."""
    for ladder in ladders.values():
        if ladder.filter is not None:
            yield ladder.filter
        yield from ladder.rules.conditions
