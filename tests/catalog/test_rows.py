"""Items that were written since: read by revision, and taken into a view as if it had been loaded again."""

import random
from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import pytest

from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import advance_revision, revisions_after
from endcap.catalog.database.tables import ITEM_WRITES
from endcap.catalog.events.events import Event
from endcap.catalog.events.storing import store_events
from endcap.catalog.fields.attributes import Moment
from endcap.catalog.items.items import Availability, Item, delete_items, upsert_items
from endcap.catalog.items.write_log import KEPT_WRITES, note_item_write
from endcap.catalog.memory.changes_since import ShopChanges, read_changes_since
from endcap.catalog.memory.loading import load_shop
from endcap.catalog.memory.rows import update_timed_view, with_counts
from endcap.catalog.memory.schedules import NEVER
from endcap.catalog.memory.user_counts import count_log
from endcap.sdk import CatalogView, Labels


NOW = 1_700_000_000_000


def columns(view: CatalogView) -> dict[str, object]:
    """Everything that a view says of items, in values that can be compared."""

    def plain(value: object) -> object:
        if isinstance(value, Labels):
            return (value.names, value.codes.tolist(), value.offsets.tolist())
        if isinstance(value, np.ndarray):
            return np.nan_to_num(value, nan=-1).tolist()
        return {name: plain(each) for name, each in value.items()} if isinstance(value, Mapping) else value

    left = {"paid_prices", "usual_prices", "lineage", "vocabulary"}
    own = {field.name: plain(getattr(view, field.name)) for field in fields(view) if field.name not in left}
    return own | {"ids": view.vocabulary.ids}


def random_item(chance: random.Random) -> Item:
    def some(*values: object) -> object:
        return chance.choice(values)

    return Item(
        chance.choice("abcdefgh"),
        title=some("", "Mug", "Red mug"),  # type: ignore[arg-type]
        categories=some((), ("Home",), ("Home", "Home > Tea")),  # type: ignore[arg-type]
        brand=some("", "Acme", "Best"),  # type: ignore[arg-type]
        tags=some((), ("new",), ("new", "sale")),  # type: ignore[arg-type]
        attributes=some({}, {"size": 2.0}, {"size": 3, "colours": ["red", "blue"]}, {"since": Moment(5)}),  # type: ignore[arg-type]
        price_nanos=some(None, 2_000_000_000),  # type: ignore[arg-type]
        currency=some("", "GBP", "USD"),  # type: ignore[arg-type]
        availability=some(Availability.IN_STOCK, Availability.OUT_OF_STOCK),  # type: ignore[arg-type]
        available_time=some(None, NOW - 1, NOW + 5),  # type: ignore[arg-type]
        expire_time=some(None, NOW + 3, NOW + 9),  # type: ignore[arg-type]
        group_id=some("", "mugs"),  # type: ignore[arg-type]
    )


async def news_after(database: Database, revision: int) -> ShopChanges:
    async with database.read() as connection:
        return await read_changes_since(connection=connection, shop="default", revision=revision)


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_writes_the_shop_is_as_if_loaded_again(catalog_database: Database, seed: int) -> None:
    """Some items were viewed before they came in; some updates take in several writes at once."""
    chance = random.Random(seed)
    loaded = await load_shop(catalog_database, "default", now=NOW)
    timed_view, histories, revision = loaded.timed_view, loaded.histories, loaded.shop.revision
    updates = 0
    for step in range(12):
        now = NOW + step
        async with catalog_database.write() as connection:
            if step % 4 == 1:
                item_ids = [chance.choice("abcdefgh")]
                await delete_items(connection=connection, shop="default", item_ids=item_ids, now=now)
            elif step % 4 == 3:
                views = [Event(f"{step}", "view", chance.choice("abcdefgh"), now, user_id="ann")]
                await store_events(connection=connection, shop="default", events=views)
            else:
                items = [random_item(chance) for _ in range(chance.randrange(4))]
                await upsert_items(connection=connection, shop="default", items=items, now=now)
        if step % 3:
            continue
        news = await news_after(catalog_database, revision)
        again = await load_shop(catalog_database, "default", now=now)
        assert news.revisions == set(range(revision + 1, news.shop.revision + 1))

        after = update_timed_view(timed_view, news.shop, news.items, now=now)

        updates += after is not None
        timed_view, revision = after or again.timed_view, news.shop.revision
        histories.follow(timed_view.view.vocabulary)
        for own, events in news.events.items():
            histories.apply(events, own)
        histories.reach(revision)
        timed_view = with_counts(timed_view, "default", count_log(timed_view.counts, histories.log()))
        assert columns(timed_view.view) == columns(again.view)
        assert timed_view.changes_at == again.timed_view.changes_at
        assert histories.of("ann").rows.tolist() == again.histories.of("ann").rows.tolist()
    assert updates > 0


async def test_a_shop_whose_items_never_come_or_go_waits_for_no_time(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=NOW)

    assert (await load_shop(catalog_database, "default", now=NOW)).timed_view.changes_at == NEVER


async def test_an_item_is_read_once_as_it_is_now_however_often_it_was_written(
    catalog_database: Database,
) -> None:
    async with catalog_database.write() as connection:
        before = await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=NOW)
    for title in ("First", "Second"):
        async with catalog_database.write() as connection:
            items = [Item("pot", title=title)]
            await upsert_items(connection=connection, shop="default", items=items, now=NOW)

    news = await news_after(catalog_database, before)

    assert [(item.position, item.title, item.revision) for item in news.items] == [(1, "Second", before + 2)]
    assert news.item_writes == {before + 1, before + 2}


async def test_a_revision_that_nobody_accounts_for_is_missed(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        before = await advance_revision(connection=connection, shop="default")
        unknown = await advance_revision(connection=connection, shop="default")
        await upsert_items(connection=connection, shop="default", items=[Item("mug")], now=NOW)

    news = await news_after(catalog_database, before)

    assert set(range(before + 1, news.shop.revision + 1)) - news.revisions == {unknown}


async def test_notes_of_writes_are_forgotten_after_a_while(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        for revision in (1, 2, KEPT_WRITES + 1):
            await note_item_write(connection=connection, shop="default", revision=revision)

        left = await revisions_after(connection=connection, table=ITEM_WRITES, shop="default", revision=0)

    assert left == {2, KEPT_WRITES + 1}
