"""Every shop in memory: the state that its answers are made from, kept fresh."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from endcap.catalog.configuration.shops import find_shop, list_shops
from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import JUMP
from endcap.catalog.events.events import Event
from endcap.catalog.memory.changes_since import read_changes_since
from endcap.catalog.memory.loading import load_paid_prices, load_shop
from endcap.catalog.memory.rows import (
    TimedView,
    timed_view_at,
    update_timed_view,
    with_counts,
    with_paid_prices,
)
from endcap.catalog.memory.schedules import NEVER
from endcap.catalog.memory.user_counts import UserCounts, count_log, is_due, sort_events
from endcap.catalog.people.forgetting import Forgotten
from endcap.runtime.instances import Generation
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk.errors import EndcapError, NotFound, Unavailable
from endcap.server.metrics import Metrics
from endcap.server.models.loaded import LoadedModels
from endcap.server.serving.breaker import BreakerState
from endcap.server.serving.failures import log_failure
from endcap.server.serving.releasing import release
from endcap.server.serving.state import ServedShop
from endcap.server.serving.state_builder import StateBuilder
from endcap.server.serving.waiting import answer_within


_TURN = 500  # events that are taken in between two turns of the event loop: about a millisecond

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0  # seconds before a shop that failed is tried again

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Failing:
    """A shop whose last refresh failed."""

    count: int
    error: Exception

    retry_at: float
    """Monotonic seconds before which it is not tried again."""


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
        self._metrics = metrics
        self._clock = clock
        self._states = StateBuilder(
            database, host, models, max_batch_size=max_batch_size, observe_batch=metrics.batch
        )
        self._shops: dict[str, ServedShop] = {}
        self.known = self._shops.keys()
        """The ids of the shops in memory, always current."""
        self._commits: dict[str, list[tuple[Sequence[Event], int]]] = {}  # of the shops that are being loaded
        self._failing: dict[str, _Failing] = {}
        self._refreshing = asyncio.Lock()
        self.left_in_files = asyncio.Event()
        """Set while the database's files may hold people whom this server forgot, or one before it."""
        self.left_in_files.set()

    def get(self, shop: str) -> ServedShop:
        """Return a shop.

        Raises:
            NotFound: The shop does not exist.
            Unavailable: The shop cannot be loaded at the moment.
        """
        if shop not in self._shops:
            if shop in self._failing:
                raise Unavailable(f"shop {shop!r} cannot be loaded at the moment: try again later")
            raise NotFound(f"shop {shop!r} does not exist: import a catalog into it first")
        return self._shops[shop]

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

    async def meet(self, shop_id: str) -> None:
        """Load a shop that was created since the last look; do nothing if no shop has the id.

        Raises:
            Unavailable: The database does not answer.
        """
        if shop_id in self._shops or shop_id in self._failing:
            return
        async with self._database.read() as connection:
            if await find_shop(connection=connection, shop=shop_id) is None:
                return
        async with self._refreshing:
            if shop_id not in self._shops:
                await self._attempt(shop_id, self._add(shop_id))

    async def refresh(self, *, view_max_age: float) -> Exception | None:
        """Take in what other processes wrote, and let items come and go whose time has come.

        A shop that fails is tried again later, and keeps no other from being refreshed.

        Args:
            view_max_age: Seconds after which paid prices and rejected bundles are read again.

        Returns:
            The error of one shop where every one fails; otherwise None.
        """
        async with self._refreshing:
            held = {shop.id: shop.revision for shop in self._shops.values()}
            async with self._database.read() as connection:
                stored = await list_shops(connection=connection)
            for gone in (self._shops.keys() | self._failing.keys()) - {about.id for about in stored}:
                self.close(gone)
            for about in stored:
                shop = self._shops.get(about.id)
                if shop is not None and shop.token_key != about.token_key:  # deleted, and created anew
                    self.close(shop.id)
                    shop = None
                await self._attempt(
                    about.id,
                    self._add(about.id)
                    if shop is None
                    else self._refresh(shop, about.revision, held[about.id], view_max_age),
                )
        errors = [self._failing[about.id].error for about in stored if about.id in self._failing]
        return errors[0] if errors and len(errors) == len(stored) else None

    def seconds_to_change(self) -> float:
        """Return the seconds until an item of a shop comes or goes by the clock."""
        changes = [shop.timed_view.changes_at for shop in self._shops.values()]
        return (min(changes, default=NEVER) - self._now()) / 1000

    async def count(self) -> None:
        """Take the events that came in into the counts behind popularity."""
        for shop in list(self._shops.values()):
            histories = shop.state.histories
            counts = shop.timed_view.counts
            if (counts.epoch, counts.revision) != (histories.epoch, histories.awaited):
                await self._attempt(shop.id, self._count(shop))

    async def _attempt(self, shop_id: str, work: Coroutine[Any, Any, None]) -> None:
        """Do something for one shop; a failure is logged and counted, and costs that shop some time."""
        failing = self._failing.get(shop_id)
        if failing is not None and time.monotonic() < failing.retry_at:
            work.close()
            return
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the other shops go on, whatever it is
            count = 1 if failing is None else failing.count + 1
            pause = min(_FIRST_PAUSE * 2 ** (count - 1), _LONGEST_PAUSE)
            self._failing[shop_id] = _Failing(count, error, time.monotonic() + pause)
            self._metrics.maintenance_failed("shop")
            log_failure(_log, "shop_failed", error, shop=shop_id)
        else:
            self._failing.pop(shop_id, None)

    async def _add(self, shop_id: str) -> None:
        self._shops[shop_id] = await self._load(shop_id)

    async def _refresh(self, shop: ServedShop, stored: int, held: int, view_max_age: float) -> None:
        """Take in what came up to a stored revision, given the revision held before it was looked for."""
        await self._catch_up(shop, stored)
        if stored < held:  # what was held before the look must be there, unless a backup was restored
            self.left_in_files.set()  # the backup may have held people who were deleted since
            async with shop.catching_up:
                await self._reload(shop)
        elif time.monotonic() - shop.renewed_at > view_max_age:
            await self._renew(shop)
        async with shop.catching_up:
            if shop.timed_view.changes_at <= self._now():
                timed_view = await asyncio.to_thread(timed_view_at, shop.timed_view, self._now())
                shop.state = await self._states.with_timed_view(shop.state, timed_view)

    async def _renew(self, shop: ServedShop) -> None:
        """Read again data without a revision: paid prices, and bundles that could not be loaded."""
        view = shop.state.view
        paid_prices = await load_paid_prices(self._database, shop.id, view.vocabulary)
        async with shop.catching_up:
            shop.state = await self._states.reconfigured(shop.id, shop.state)
            if shop.timed_view.view.lineage is view.lineage:
                timed_view = await asyncio.to_thread(with_paid_prices, shop.timed_view, paid_prices)
                shop.state = replace(shop.state, timed_view=timed_view)  # no condition reads paid prices
            shop.renewed_at = time.monotonic()

    async def _count(self, shop: ServedShop) -> None:
        histories = shop.state.histories
        if histories.awaited > histories.revision:  # another process wrote in between
            await self._catch_up(shop, histories.awaited)
        counts: UserCounts | None = shop.timed_view.counts
        async with shop.catching_up:  # no revision is half there
            log = histories.log()
        if is_due(counts, log):
            events = await asyncio.to_thread(
                sort_events, log, keep_days=shop.settings.keep_events_days, now=self._now()
            )
            if not histories.adopt(events):
                return  # somebody was forgotten: the next time
            counts, log = None, histories.log()
        counts = await asyncio.to_thread(count_log, counts, log)
        async with shop.catching_up:
            if shop.state.histories is histories and histories.epoch == log.epoch:
                timed_view = with_counts(shop.timed_view, shop.id, counts)
                shop.state = replace(shop.state, timed_view=timed_view)  # no condition reads counts

    def close(self, shop: str) -> None:
        """Serve a shop no longer that was deleted, and forget it."""
        self._failing.pop(shop, None)
        if shop in self._shops:
            release(self._shops.pop(shop).state)
        self.left_in_files.set()  # the files may hold its people

    async def reach(self, shop: ServedShop, revision: int, deadline: float) -> None:
        """Take in what a shop lacks of a revision, in half of the time left; the caller sees if it is there.

        A revision is stored before anybody is told of it, so one look at the database is enough.
        """
        try:
            await answer_within(deadline, self._catch_up(shop, revision))
        except TimeoutError:
            pass
        except EndcapError as error:
            _log.warning("catch_up_failed", shop=shop.id, reason=str(error))

    async def forget(self, shop: ServedShop, forgotten: Forgotten) -> None:
        """Take people out of memory who are not in the database any more."""
        self.left_in_files.set()
        people = forgotten.people
        async with shop.catching_up:  # what is being loaded may know them still
            shop.state.histories.forget(people.users, people.visitors)
            self.committed(shop.id, (), forgotten.revision)

    async def _catch_up(self, shop: ServedShop, revision: int) -> None:
        """Take in others' events, items, bundles and placements up to a revision; load again for all else."""
        if shop.revision >= revision:
            return
        async with shop.catching_up:
            if shop.revision >= revision:  # somebody who waited before has taken it in
                return
            async with self._database.read() as connection:
                news = await read_changes_since(connection=connection, shop=shop.id, revision=shop.revision)
            timed_view: TimedView | None = shop.timed_view
            if news.items:
                timed_view = await asyncio.to_thread(
                    update_timed_view, shop.timed_view, news.shop, news.items, now=self._now()
                )
            if timed_view is None or len(news.revisions) < news.shop.revision - shop.revision:
                if news.shop.revision - shop.revision > JUMP // 2:
                    self.left_in_files.set()  # a backup that was restored may have held people deleted since
                await self._reload(shop)
                return
            if news.rebuilds:
                shop.state = await self._states.reconfigured(shop.id, shop.state)
            shop.state = await self._states.with_timed_view(shop.state, timed_view)
            histories = shop.state.histories
            for known in news.revisions:
                events = () if histories.has(known) else news.events.get(known, ())
                for start in range(0, len(events), _TURN):  # an import makes many events of one revision
                    histories.append(events[start : start + _TURN])
                    await asyncio.sleep(0)
                self.committed(shop.id, (), known)

    async def _reload(self, shop: ServedShop) -> None:
        loaded = await self._load(shop.id)
        release(shop.state)
        shop.state, shop.renewed_at, shop.settings = loaded.state, loaded.renewed_at, loaded.settings

    async def _load(self, shop_id: str) -> ServedShop:
        """Load a shop, with what is committed meanwhile; one load of a shop at a time."""
        commits = self._commits[shop_id] = []
        before = self._shops.get(shop_id)
        revision_before = 0 if before is None else before.revision
        try:
            loaded = await load_shop(self._database, shop_id, now=self._now())
            about, timed_view = loaded.shop, loaded.timed_view
            if before is not None and about.revision >= revision_before:
                # Results that were computed from the view before hold for the items that have not changed.
                timed_view = replace(
                    timed_view, view=replace(timed_view.view, lineage=before.state.view.lineage)
                )
            state = await self._states.build(
                shop_id,
                timed_view,
                loaded.histories,
                Generation.of(()) if before is None else before.state.generation,
            )
        finally:
            del self._commits[shop_id]
        for events, revision in commits:
            loaded.histories.apply(events, revision)
        return ServedShop(
            shop_id,
            about.token_key,
            state,
            time.monotonic(),
            about,
        )

    def _now(self) -> int:
        return int(self._clock() * 1000)
