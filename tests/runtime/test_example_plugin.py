"""The example plugin is a distribution of its own, found by its entry point and served over gRPC."""

from pathlib import Path

import polars as pl
import pytest

from endcap.catalog.configuration.placements import Placement, RungSpec, put_placement
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.importing.importer import import_folder
from endcap.client import AsyncClient
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Task
from endcap.server.app import Application
from endcap.server.settings import Settings


NOW = 1_700_000_000_000


@pytest.fixture
async def priced_shop(tmp_path: Path) -> str:
    """The URL of a shop of four items whose placement ``price-shelf`` names the example's strategy."""
    pl.DataFrame(
        {
            "item_id": ["mug", "glass", "cup", "kettle"],
            "title": ["Mug", "Glass", "Cup", "Kettle"],
            "price": [10.0, 8.0, 11.0, 60.0],
        }
    ).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame(
        schema={"user_id": pl.String, "item_id": pl.String, "type": pl.String, "time": pl.Int64}
    ).write_parquet(tmp_path / "events.parquet")
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
        placement = Placement("price-shelf", Task.SIMILAR, (RungSpec("similar_price", {"tolerance": 0.3}),))
        await put_placement(connection=connection, shop="default", placement=placement, now=NOW)
    await import_folder(database, "default", tmp_path, now=NOW, currency="GBP")
    await database.close()
    return url


def test_the_example_is_found_as_a_distribution_of_its_own() -> None:
    registration = PluginHost.discover().registration("similar_price")

    assert registration.plugin.source == "endcap-similar-price 1.0.0"
    assert registration.tasks == {Task.SIMILAR}
    assert registration.scores


async def test_the_example_is_served(priced_shop: str) -> None:
    """The cup costs 1 more than the mug and the glass 2 less; the kettle comes from the rung below."""
    application = Application(Settings(address="127.0.0.1:0", database_url=priced_shop, drain_seconds=0.1))
    await application.start()

    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        answer = await client.recommend("price-shelf", item_ids=["mug"])
    await application.stop()

    served = [(result.item_id, result.strategy) for result in answer.results]
    assert served == [("cup", "similar_price"), ("glass", "similar_price"), ("kettle", "popular")]
