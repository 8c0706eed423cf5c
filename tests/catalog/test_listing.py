"""Lists of items: a filter means the same in both databases, and pages join up."""

import pytest

from endcap.catalog import listing
from endcap.catalog.attributes import Moment
from endcap.catalog.database import Database
from endcap.catalog.filtering import parse_list_filter
from endcap.catalog.items import Availability, Item, delete_items, upsert_items
from endcap.catalog.listing import ITEM_LIST_FIELDS, list_matching_items
from endcap.catalog.money import to_nanos
from endcap.catalog.shops import create_shop, get_shop
from endcap.sdk.errors import InvalidInput


NOW = 1_700_000_000_000
TIME = "2023-11-14T22:13:20Z"  # NOW

ITEMS = (
    Item(
        "a", title="Blue Kettle", brand="Acme", categories=("Home", "Kitchen"), price_nanos=to_nanos("19.99")
    ),
    Item(
        "b",
        title="straße 😀",
        brand="acme",
        tags=("new", "😀"),
        price_nanos=to_nanos("20"),
        currency="GBP",
        attributes={"size": 5, "colour": "red", "fair": True, "since": Moment(NOW)},
        availability=Availability.PREORDER,
        created_time=NOW,
    ),
    Item(
        "c",
        title="Mug",
        brand="Zenith",
        tags=("new", "old"),
        price_nanos=to_nanos("20.000000001"),
        original_price_nanos=to_nanos("9000000.01"),
        attributes={"size": "L", "colours": ["red", "blue"]},
        availability=Availability.OUT_OF_STOCK,
        created_time=NOW + 1,
        group_id="mugs",
    ),
    Item(
        "d", price_nanos=to_nanos("3"), currency="EUR", description="a mug", expire_time=NOW, created_time=5
    ),
    Item(
        "ä", title="100% \\ 'cotton' \"x\"", available_time=NOW + 1, expire_time=NOW + 2, language_code="de"
    ),
)


@pytest.fixture
async def stocked(catalog_database: Database) -> Database:
    """A shop that reckons in pounds and sells ``ITEMS``; another one sells an item of its own."""
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop="default", items=[*ITEMS, Item("gone")], now=NOW)
        await delete_items(connection=connection, shop="default", item_ids=["gone"], now=NOW)
        await create_shop(connection=connection, shop="other", now=NOW)
        await upsert_items(connection=connection, shop="other", items=[Item("e")], now=NOW)
    return catalog_database


async def _found(database: Database, text: str, *, limit: int = 100, after: str = "") -> list[str]:
    expression = parse_list_filter(text, ITEM_LIST_FIELDS)
    async with database.read() as connection:
        page = await list_matching_items(
            connection=connection,
            shop=await get_shop(connection=connection, shop="default"),
            expression=expression,
            limit=limit,
            after=after,
            now=NOW,
        )
    assert not page.last
    return [item.id for item in page.entries]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ["a", "b", "c", "d", "ä"]),
        ('brand = "Acme"', ["a"]),
        ('brand != "Acme"', ["b", "c"]),
        ('NOT brand = "Acme"', ["b", "c", "d", "ä"]),
        ("brand:ACM", ["a", "b"]),
        ("brand > Acme", ["b", "c"]),
        ('brand <= "Acme"', ["a"]),
        ("brand = A*", ["a"]),
        ("brand:*", ["a", "b", "c"]),
        ("price < 20", ["a"]),
        ("price = 20", ["b"]),
        ("price <= 20", ["a", "b"]),
        ("price > 20", ["c"]),
        ("price != 20", ["a", "c"]),
        ("NOT price < 20", ["b", "c", "d", "ä"]),
        ("original_price = 9000000.01", ["c"]),
        ("currency = EUR", ["d"]),
        ('category = "Kitchen"', ["a"]),
        ("tags:(new AND old)", ["c"]),
        ('tags = "😀"', ["b"]),
        ("tags != new", []),
        ("NOT tags:new", ["a", "d", "ä"]),
        ("tags:*", ["b", "c"]),
        ("availability = preorder", ["b"]),
        ("available = true", ["a", "b"]),
        ("language_code = de", ["ä"]),
        (f"create_time = {TIME}", ["a", "b", "ä"]),
        (f"create_time > {TIME}", ["c"]),
        (f"expire_time <= {TIME}", ["d"]),
        ("attributes.size = 5", ["b"]),
        ("attributes.size = L", []),  # sizes are numbers here: what is of another type does not count
        ("attributes.size > 4", ["b"]),
        ("attributes.colours:red", ["c"]),
        ("attributes.fair = true", ["b"]),
        ("attributes:size", ["b"]),
        (f"attributes.since <= {TIME}", ["b"]),
        ("STRASSE", ["b"]),
        ("mug", ["c"]),
        ('title = "100% \\\\ \\\'cotton\\\' \\"x\\""', ["ä"]),
        ('item_id = ("a" OR "ä")', ["a", "ä"]),
        ("id > b AND id < ä", ["c", "d"]),
        ("group_id = mugs OR price = 20", ["b", "c"]),
        ("id = x", []),
    ],
)
async def test_a_list_holds_what_meets_the_filter(stocked: Database, text: str, ids: list[str]) -> None:
    assert await _found(stocked, text) == ids


@pytest.mark.parametrize(
    "text", ["cost < 3", "price = cheap", "tags < 3", "availability:in_stock", "attributes = 3", "a AND"]
)
def test_a_filter_that_the_fields_cannot_answer_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_list_filter(text, ITEM_LIST_FIELDS)

    assert caught.value.field == "filter"


@pytest.mark.parametrize("text", ["", "tags:new", "title:e"])
async def test_pages_join_up_to_the_whole_list(
    stocked: Database, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_CHUNK", 2)
    expression = parse_list_filter(text, ITEM_LIST_FIELDS)
    whole, after, pages = await _found(stocked, text), "", 0
    joined: list[str] = []
    while pages == 0 or after:
        async with stocked.read() as connection:
            page = await list_matching_items(
                connection=connection,
                shop=await get_shop(connection=connection, shop="default"),
                expression=expression,
                limit=1,
                after=after,
                now=NOW,
            )
        joined += [item.id for item in page.entries]
        after, pages = page.last, pages + 1

    assert joined == whole
    assert pages == len(whole)


async def test_a_page_that_read_enough_ends_early_and_says_where_to_go_on(
    stocked: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_CHUNK", 1)
    monkeypatch.setattr(listing, "MAX_SCANNED", 2)
    async with stocked.read() as connection:
        page = await list_matching_items(
            connection=connection,
            shop=await get_shop(connection=connection, shop="default"),
            expression=parse_list_filter("title:mug", ITEM_LIST_FIELDS),
            limit=10,
            after="",
            now=NOW,
        )

    assert (page.entries, page.last) == ([], "b")
