"""``endcap shops``, as an operator calls it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.server.commands.shops import shops


NOW = 1_700_000_000_000
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on a database with one new shop."""
    url = f"sqlite:///{tmp_path}/endcap.db"
    monkeypatch.setenv("ENDCAP_DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "200")
    asyncio.run(_create_shop(url))
    return lambda *arguments: CliRunner().invoke(shops, arguments)


async def _create_shop(url: str) -> None:
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="GBP")
    await database.close()


def settings(result: Result) -> dict[str, str]:
    """Return the settings that a command printed."""
    assert result.exit_code == 0, result.output
    cells = [line.split("│") for line in result.stdout.splitlines() if line.startswith("│")]
    return {name.strip(): value.strip() for _, name, value, _ in cells}


def test_a_shop_starts_with_the_weights_of_the_known_types(run: Run) -> None:
    assert settings(run("show")) == {
        "currency": "GBP",
        "languages": "not set",
        "max event age": "30 days",
        "events are kept": "for ever",
        "exposures are kept": "for ever",
        "weight of add_to_cart": "3",
        "weight of click": "1",
        "weight of purchase": "5",
        "weight of rating": "5",
        "weight of view": "1",
    }


def test_what_is_set_changes_and_the_rest_stays(run: Run) -> None:
    before = settings(run("show"))

    changed = settings(
        run("set", "--weight", "wishlist=2.5", "--weight", "view=0", "--max-event-age-days", "7")
    )

    assert changed == {
        **before,
        "max event age": "7 days",
        "weight of view": "0",
        "weight of wishlist": "2.5",
    }
    assert settings(run("show")) == changed


def test_what_is_kept_for_a_while_is_set_and_may_be_kept_for_ever_again(run: Run) -> None:
    kept = settings(run("set", "--keep-events-days", "365", "--keep-exposures-days", "90"))
    again = settings(run("set", "--keep-events-days", "0"))

    assert (kept["events are kept"], kept["exposures are kept"]) == ("365 days", "90 days")
    assert (again["events are kept"], again["exposures are kept"]) == ("for ever", "90 days")


def test_a_shop_is_created_with_its_settings_and_listed(run: Run) -> None:
    created = settings(run("create", "second", "--currency", "EUR", "--weight", "view=2"))

    assert (created["currency"], created["weight of view"], created["weight of purchase"]) == (
        "EUR",
        "2",
        "5",
    )
    listed = run("list").stdout
    assert "default" in listed
    assert "second" in listed
    assert settings(run("show"))["weight of view"] == "1"


def test_attributes_are_declared_and_languages_named(run: Run) -> None:
    changed = settings(
        run("set", "--attribute", "size=text", "--attribute", "watts=number", "--language", "de")
    )
    again = settings(run("set", "--attribute", "size=texts", "--weight", "return=-3"))

    assert (changed["attribute size"], changed["attribute watts"], changed["languages"]) == (
        "text",
        "number",
        "de",
    )
    assert again == {**changed, "attribute size": "texts", "weight of return": "-3"}


def test_each_change_is_logged_with_what_changed(run: Run) -> None:
    run("create", "second", "--currency", "EUR")
    run("set", "second", "--currency", "CHF", "--keep-events-days", "90")

    lines = [line for line in run("changes", "second").stdout.splitlines() if line.startswith("│")]

    assert ["keep_events_days, currency" in lines[0], "created" in lines[1], len(lines)] == [True, True, 2]


def test_a_shop_is_deleted_once_somebody_says_so(run: Run) -> None:
    run("create", "second")

    asked = run("delete", "second")
    deleted = run("delete", "second", "--yes")

    assert (asked.exit_code, deleted.stdout) == (1, "deleted second\n")
    assert "second" not in run("list").stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("set",), "nothing to change"),
        (("set", "--weight", "view"), "write TYPE=NUMBER"),
        (("set", "--weight", "view=much"), "write TYPE=NUMBER"),
        (("set", "--weight", "view=nan"), "must be from -1000 to 1000"),
        (("set", "--weight", "view=-1001"), "must be from -1000 to 1000"),
        (("set", "--attribute", "size"), "write NAME=TYPE"),
        (("set", "--attribute", "size=colour"), "of the types text, number, boolean, time, texts"),
        (("set", "--attribute", "Size=text"), "is no name of an attribute"),
        (("set", "--language", "not a lang!"), "BCP 47"),
        (("delete", "third", "--yes"), "shop 'third' does not exist"),
        (("set", "--weight", "Add to cart=1"), "is no event type"),
        (("set", "--max-event-age-days", "0"), "must be from 1 to"),
        (("set", "--keep-events-days", "29"), "must not be less than max_event_age_days"),
        (("set", "--keep-exposures-days", "-1"), "must be from 0"),
        (("set", "--currency", "pounds"), "ISO 4217"),
        (("set", "third", "--currency", "EUR"), "shop 'third' does not exist"),
        (("show", "third"), "shop 'third' does not exist"),
        (("create", "default"), "shop 'default' already exists"),
        (("create", "x" * 65), "at most 64"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence_and_changes_nothing(
    run: Run, arguments: tuple[str, ...], complaint: str
) -> None:
    before = settings(run("show"))

    result = run(*arguments)

    assert result.exit_code == 1
    assert complaint in result.output
    assert settings(run("show")) == before
