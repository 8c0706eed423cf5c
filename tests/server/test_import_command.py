"""``endcap import`` and ``endcap readiness``, as an operator calls them."""

import asyncio
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from endcap.catalog.database.engine import open_database
from endcap.catalog.memory.loading import LoadedShop, load_shop
from endcap.sdk.filters import parse_filter
from endcap.server.commands.data import import_folder
from endcap.server.commands.readiness import readiness
from endcap.server.settings import read_settings


app = Typer()
app.command("import")(import_folder)
app.command("readiness")(readiness)

ITEMS = "sku;title;price\nmug;Mug;6.95\npot;Pot;free\n"
EVENTS = '{"item_id": "mug", "user_id": "ann", "when": 1700000000000, "type": "purchase"}\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of items and one of events; there is no database yet."""
    monkeypatch.setenv("ENDCAP_DATABASE_URL", f"sqlite:///{tmp_path}/endcap.db")
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "items.csv").write_text(ITEMS, encoding="utf-8")
    (folder / "events.jsonl").write_text(EVENTS, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("items.csv", "item_id,title,price\nmug,Mug,6.95\n", ()),
        ("items.csv", "item_id,title,Preis\nmug,Mug,6.95\n", ("--map", "price=Preis")),
        ("items.csv", "item_id,title\nmug,Mug\n", ("--value", "items.cost=5")),
        ("items.jsonl", '{"item_id": "mug", "title": "Mug", "original_price": 6.95}\n', ()),
    ],
)
def test_prices_in_no_currency_are_rejected_before_there_is_a_shop(
    folder: Path, tmp_path: Path, name: str, content: str, options: tuple[str, ...]
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")

    foreseen = _call("import", "--items", str(file), *options, "--dry-run", code=1)
    rejected = _call("import", "--items", str(file), *options, code=1)
    ready = _call("readiness", code=1)

    expected = f"{file} has prices, but the shop has no currency: name it, such as --currency EUR"
    assert expected in foreseen
    assert expected in rejected
    assert "does not exist" in ready


def _call(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_files_are_imported_and_said_to_be_enough_or_not(folder: Path) -> None:
    names = ("--map", "items.item_id=sku", "--map", "time=when")

    dry = _call("import", str(folder), *names, "--currency", "GBP", "--dry-run")
    imported = _call("import", str(folder), *names, "--currency", "GBP")
    rejected = (folder / "items-events.rejects.csv").read_text(encoding="utf-8")
    again = _call("import", "--events", str(folder / "events.jsonl"), "--map", "time=when")
    ready = _call("readiness")

    assert "nothing was stored" in dry
    assert "1 items, 0 users, 1 events, 0 events known before" in imported
    assert "rejected 1: items.csv: price is not an amount of money" in imported
    assert f"the rejected rows are in {folder / 'items-events.rejects.csv'}" in imported
    assert rejected.splitlines()[1].startswith("items.csv,3,price is not an amount of money,")
    assert (folder / "items-events.rejects.csv").exists()  # which another import leaves alone
    assert "0 items, 0 users, 0 events, 1 events known before" in again
    assert imported.endswith(ready)
    for line in (
        "1 items, 0 of them with more than a title",
        "1 events: 1 purchase",
        "from 2023-11-14 to 2023-11-14, which are 0 days",
        "1 users and visitors chose 1 items: 1 pairs, 100.000% of all",
    ):
        assert line in ready
    assert "1 items were chosen, and a list has 10: end placements with cold_start" in ready


def test_an_import_gives_its_currency_to_a_shop_that_has_none(folder: Path) -> None:
    items = ("import", "--items", str(folder / "items.csv"), "--map", "item_id=sku")

    _call("import", "--events", str(folder / "events.jsonl"), "--map", "time=when")  # without prices
    _call(*items, "--currency", "GBP")

    loaded = asyncio.run(_loaded())
    assert loaded.shop.currency == "GBP"
    assert parse_filter("price > 5").mask(loaded.view).tolist() == [True]


async def _loaded() -> LoadedShop:
    database = await open_database(read_settings().database_url)
    try:
        return await load_shop(database, "default", now=1)
    finally:
        await database.close()


def test_no_run_writes_over_the_rejected_rows_of_another(folder: Path) -> None:
    items = ("import", "--items", str(folder / "items.csv"), "--map", "item_id=sku", "--currency", "GBP")
    (folder / "events.csv").write_text("item_id,user_id,type,time\nmug,ann,view,never\n", encoding="utf-8")

    _call(*items)
    of_items = (folder / "items.rejects.csv").read_bytes()
    _call("import", "--events", str(folder / "events.csv"))
    _call(*items, "--dry-run")

    assert (folder / "items.rejects.csv").read_bytes() == of_items
    assert (folder / "items.dry-run.rejects.csv").read_bytes() == of_items
    assert b"time is not a time" in (folder / "events.rejects.csv").read_bytes()


def test_a_dry_run_compares_with_what_is_stored(folder: Path) -> None:
    events = ("import", "--events", str(folder / "events.jsonl"), "--map", "time=when")
    prices = folder / "prices.csv"
    prices.write_text("item_id,price,colour\nmug,1,red\n", encoding="utf-8")

    before = _call(*events, "--dry-run")
    _call(*events)
    after = _call(*events, "--dry-run")
    untitled = _call("import", "--items", str(prices), "--currency", "GBP", "--dry-run")

    assert "stored data is ignored: " in before
    assert "0 users, 1 events, 0 events known before" in before
    assert "0 users, 0 events, 1 events known before" in after
    assert "stored data is ignored" not in after
    assert "rejected 1: prices.csv: title is missing" in untitled
    assert "note: prices.csv: not read: 'colour'" in untitled


def test_a_dry_run_needs_no_database(folder: Path) -> None:
    names = ("--map", "items.item_id=sku", "--map", "time=when")

    _call("import", str(folder), *names, "--currency", "GBP", "--dry-run")

    assert not (folder.parent / "endcap.db").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["import"], "name a folder, or files with --items"),
        (["import", "nowhere"], "holds no file named items, users or events"),
        (["import", "--items", "items.csv"], "items.csv is missing"),
        (["import", "--items", "items.csv", "--map", "sku"], "write it as item_id=StockCode"),
        (["import", "--items", "items.csv", "--currency", "!!!"], "must be an ISO 4217 code"),
        (["readiness"], "create it with 'endcap migrate'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(folder: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert said in result.output
