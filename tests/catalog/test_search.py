"""Search: the expected items first, whatever is typed, and those of one's own shop only."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.items.items import Item, delete_items, upsert_items
from endcap.catalog.items.search import Match, search_items
from endcap.catalog.items.search_index import word_forms


SHOP_TITLES = (
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "HEART T-LIGHT HOLDER",
    "6 CHOCOLATE LOVE HEART T-LIGHTS",
    "REGENCY CAKESTAND 3 TIER",
    "RED RETROSPOT CAKE STAND",
    "RED RETROSPOT TRADITIONAL TEAPOT",
    "TEA TIME TEAPOT IN GIFT BOX",
    "LUNCH BAG RED RETROSPOT",
    "LUNCH BAG WOODLAND",
    "RED RETROSPOT CHARLOTTE BAG",
    "BEWARE OF THE CAT DOORMAT",
    "FIVE CATS HANGING DECORATION",
    "SET/5 RED RETROSPOT LID GLASS BOWLS",
    "GLASSES CASE, KITCHEN",
)
"""Titles of the shop of the demo."""

CHINESE_TITLES = (
    "绿茶",
    "茉莉绿茶",
    "绿茶饼干",
    "红茶",
    "茶杯",
    "玻璃茶杯",
    "绿色水杯",
    "咖啡杯",
    "保温杯 500ml",
    "Café 咖啡豆",
)
"""Green tea; jasmine green tea; green tea biscuits; black tea; teacup; glass teacup; green water cup; coffee
cup; thermos cup; coffee beans."""


async def stock(database: Database, items: Sequence[Item | str], shop: str = "default") -> None:
    """Put items into a shop; a string is a title, and the id too."""
    stocked = [Item(item, title=item) if isinstance(item, str) else item for item in items]
    async with database.write() as connection:
        await upsert_items(connection=connection, shop=shop, items=stocked, now=1)


ALL = np.ones(1_000, np.bool_)


async def matches(
    database: Database, text: str, *, limit: int = 20, shop: str = "default", allowed: NDArray[np.bool_] = ALL
) -> list[Match]:
    async with database.read() as connection:
        return await search_items(connection=connection, shop=shop, text=text, allowed=allowed, limit=limit)


async def found(database: Database, text: str, items: Sequence[str], *, limit: int = 20) -> list[str]:
    """Return the titles that a text finds."""
    return [items[match.position] for match in await matches(database, text, limit=limit)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The text is one title, and its words are in another one.
        ("heart t-light holder", ["HEART T-LIGHT HOLDER", "WHITE HANGING HEART T-LIGHT HOLDER"]),
        ("t light holders", ["HEART T-LIGHT HOLDER", "WHITE HANGING HEART T-LIGHT HOLDER"]),
        # The shorter title first.
        ("lunch bag", ["LUNCH BAG WOODLAND", "LUNCH BAG RED RETROSPOT"]),
        ("lunch bags", ["LUNCH BAG WOODLAND", "LUNCH BAG RED RETROSPOT"]),
        ("Lunch-Bag", ["LUNCH BAG WOODLAND", "LUNCH BAG RED RETROSPOT"]),
        # The form that was typed first.
        ("cats", ["FIVE CATS HANGING DECORATION", "BEWARE OF THE CAT DOORMAT"]),
        # As it is typed.
        ("lunch b", ["LUNCH BAG WOODLAND", "LUNCH BAG RED RETROSPOT"]),
        ("cakest", ["REGENCY CAKESTAND 3 TIER"]),
        ("regency ca", ["REGENCY CAKESTAND 3 TIER"]),
        # Every word before some of them.
        ("red retrospot teapot", ["RED RETROSPOT TRADITIONAL TEAPOT"]),
        # No title holds both words, and each is in one: the shorter title.
        ("woodland doormats", ["LUNCH BAG WOODLAND", "BEWARE OF THE CAT DOORMAT"]),
    ],
)
async def test_the_expected_titles_of_the_shop_come_first(
    catalog_database: Database, text: str, expected: list[str]
) -> None:
    await stock(catalog_database, SHOP_TITLES)

    assert (await found(catalog_database, text, SHOP_TITLES))[: len(expected)] == expected


@pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
async def test_the_rarer_word_says_more_where_the_database_knows_how_rare_it_is(
    catalog_database: Database,
) -> None:
    """ "teapot" is in two titles, "red" and "retrospot" are in five."""
    await stock(catalog_database, SHOP_TITLES)

    titles = await found(catalog_database, "red retrospot teapot", SHOP_TITLES)

    assert titles[:3] == [
        "RED RETROSPOT TRADITIONAL TEAPOT",
        "TEA TIME TEAPOT IN GIFT BOX",
        "RED RETROSPOT CAKE STAND",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The title itself, then both characters side by side, in the order of arrival.
        ("绿茶", ["绿茶", "茉莉绿茶", "绿茶饼干"]),
        ("茶杯", ["茶杯", "玻璃茶杯"]),
        # No title holds the second pair: the one that holds most else.
        ("玻璃杯", ["玻璃茶杯"]),
        ("咖啡", ["咖啡杯", "Café 咖啡豆"]),
        ("cafe 咖啡", ["Café 咖啡豆"]),
        ("保温杯", ["保温杯 500ml"]),
        ("保温杯500", ["保温杯 500ml"]),
        ("豆", ["Café 咖啡豆"]),
        # In full width.
        ("５００ＭＬ", ["保温杯 500ml"]),
    ],
)
async def test_the_expected_chinese_titles_come_first(
    catalog_database: Database, text: str, expected: list[str]
) -> None:
    await stock(catalog_database, CHINESE_TITLES)

    assert (await found(catalog_database, text, CHINESE_TITLES))[: len(expected)] == expected


async def test_one_character_finds_every_title_that_holds_it(catalog_database: Database) -> None:
    await stock(catalog_database, CHINESE_TITLES)

    titles = await found(catalog_database, "茶", CHINESE_TITLES)

    assert set(titles) == {title for title in CHINESE_TITLES if "茶" in title}


async def test_the_whole_number_of_a_score_says_how_the_words_match(catalog_database: Database) -> None:
    await stock(catalog_database, ["bag", "red bag", "red baggage", "blue bag", "mug"])

    scores = {match.position: match.score for match in await matches(catalog_database, "red bag")}

    # "red bag" is the text; "red baggage" begins like it; "bag" and "blue bag" hold one of two words.
    assert list(scores) == [1, 2, 0, 3]
    assert scores[1] == 4
    assert 1 < scores[2] <= 2
    assert 0 < scores[3] < scores[0] <= 1


async def test_whole_words_come_before_beginnings_wherever_they_stand(catalog_database: Database) -> None:
    await stock(catalog_database, ["carpet", Item("toy", title="toy", description="a car for children")])

    first, second = await matches(catalog_database, "car")

    assert (first.position, second.position) == (1, 0)
    assert first.score > 2 >= second.score


async def test_a_word_counts_most_in_a_title_then_in_a_label_then_in_a_description(
    catalog_database: Database,
) -> None:
    items = [
        Item("a", title="bowl", description="oak"),
        Item("b", title="tray", tags=("oak",)),
        Item("c", title="oak", brand="lid"),
        Item("d", title="lamp", brand="oak"),
        Item("e", title="mug", categories=("oak",)),
    ]
    await stock(catalog_database, items)

    positions = [match.position for match in await matches(catalog_database, "oak")]

    assert positions == [2, 1, 3, 4, 0]


async def test_texts_in_other_languages_find_the_item_too(catalog_database: Database) -> None:
    texts = {"zh": {"title": "绿茶"}, "de": {"description": "Grüner Tee"}}
    await stock(catalog_database, [Item("tea", title="Green tea", localized_texts=texts), "mug"])

    for text in ("green", "绿茶", "gruner"):
        assert [match.position for match in await matches(catalog_database, text)] == [0]


@pytest.mark.parametrize("text", ["blue lamp", "Blue-LAMP!", "blaue lampe", "leuchte blau"])
async def test_each_title_of_an_item_is_one_that_a_text_may_be(catalog_database: Database, text: str) -> None:
    titles = {"de": {"title": "Blaue Lampe"}, "at": {"title": "Leuchte blau"}, "fr": {"description": "Bleu"}}
    shades = ["blue lamp shade", "blaue lampe groß", "leuchte blau groß"]
    await stock(catalog_database, [*shades, Item("lamp", title="blue lamp", localized_texts=titles)])

    first, second = (await matches(catalog_database, text))[:2]

    assert first.position == 3
    assert first.score > 3 >= second.score


async def test_two_titles_side_by_side_are_no_title(catalog_database: Database) -> None:
    await stock(catalog_database, [Item("lamp", title="blue", localized_texts={"de": {"title": "Lampe"}})])

    (match,) = await matches(catalog_database, "blue lampe")

    assert match.score == 3  # the best of those that hold every word


async def test_what_may_be_returned_is_found_however_much_matches_better(catalog_database: Database) -> None:
    await stock(catalog_database, ["red mug", "red mug number 1", "red mug number 2", "red mug number 3"])
    allowed = np.array([False, False, True, True])

    found = [match.position for match in await matches(catalog_database, "red mug", limit=2, allowed=allowed)]
    last = await matches(catalog_database, "mug", limit=1, allowed=np.array([False, False, False, True]))

    assert found == [2, 3]
    assert [match.position for match in last] == [3]


async def test_what_is_not_known_to_be_allowed_is_not_returned(catalog_database: Database) -> None:
    await stock(catalog_database, ["red mug", "blue mug", "green mug"])

    found = await matches(catalog_database, "mug", allowed=np.array([True]))

    assert [match.position for match in found] == [0]


async def test_the_limit_cuts_the_worst(catalog_database: Database) -> None:
    await stock(catalog_database, SHOP_TITLES)

    every = await found(catalog_database, "red bag", SHOP_TITLES)

    assert len(every) > 3
    for limit in range(1, len(every) + 1):
        assert await found(catalog_database, "red bag", SHOP_TITLES, limit=limit) == every[:limit]


async def test_what_changes_is_found_by_its_new_words_only(catalog_database: Database) -> None:
    await stock(catalog_database, [Item("1", title="mug"), Item("2", title="tray"), Item("3", title="mug")])
    await stock(catalog_database, [Item("1", title="cup"), Item("2", title="tray")])

    assert [match.position for match in await matches(catalog_database, "mug")] == [2]
    assert [match.position for match in await matches(catalog_database, "cup")] == [0]
    assert [match.position for match in await matches(catalog_database, "tray")] == [1]


async def test_what_is_deleted_is_found_no_more_until_it_comes_back(catalog_database: Database) -> None:
    await stock(catalog_database, ["mug", "tray"])

    async with catalog_database.write() as connection:
        await delete_items(connection=connection, shop="default", item_ids=["mug"], now=2)
    assert await matches(catalog_database, "mug") == []

    await stock(catalog_database, ["mug"])
    assert [match.position for match in await matches(catalog_database, "mug")] == [0]


@pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(
        st.tuples(st.sampled_from("abcd"), st.none() | st.sampled_from(["mug", "red mug", "绿茶", ""])),
        max_size=12,
    )
)
async def test_the_index_holds_the_words_of_the_items_whatever_was_written(
    catalog_database: Database, writes: list[tuple[str, str | None]]
) -> None:
    """FTS5 itself compares its index with the rows."""
    for item_id, title in writes:
        if title is not None:
            await stock(catalog_database, [Item(item_id, title=title)])
            continue
        async with catalog_database.write() as connection:
            await delete_items(connection=connection, shop="default", item_ids=[item_id], now=1)

    async with catalog_database.write() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO item_words (item_words, rank) VALUES ('integrity-check', 1)"
        )


async def test_a_shop_finds_its_own_items_only(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="other", now=1)
    await stock(catalog_database, ["red mug", "blue mug"])
    await stock(catalog_database, ["tray", "red mug"], shop="other")

    assert [match.position for match in await matches(catalog_database, "red mug")] == [0, 1]
    assert [match.position for match in await matches(catalog_database, "red mug", shop="other")] == [1]
    assert await matches(catalog_database, "tray", shop="nowhere") == []


async def test_nothing_is_stored_of_a_write_that_fails(catalog_database: Database) -> None:
    with pytest.raises(RuntimeError, match="on the way"):
        async with catalog_database.write() as connection:
            await upsert_items(connection=connection, shop="default", items=[Item("mug", title="mug")], now=1)
            raise RuntimeError("on the way")

    assert await matches(catalog_database, "mug") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "!?*()",
        "\x00",
        "mug\x00tray",
        '"mug" OR "tray"',
        "mug NOT tray",
        "title : mug",
        "NEAR(mug tray, 2)",
        "^mug + tray*",
        "mug' & !tray:* | <-> \\",
        "'; DROP TABLE item_texts; --",
        "{title labels}: mug",
        "-mug",
        "\ud800",
        "%_:",
        "mug " * 64,
        "茶杯" * 128,
        "".join(map(chr, range(0x4E00, 0x4E00 + 256))),
        " ".join(chr(0x61 + first) + chr(0x61 + second) for first in range(9) for second in range(9)),
    ],
)
async def test_no_text_breaks_the_query(catalog_database: Database, text: str) -> None:
    await stock(catalog_database, ["mug", "tray", "lamp"])

    positions = {match.position for match in await matches(catalog_database, text)}

    assert positions == {row for row, title in enumerate(("mug", "tray", "lamp")) if title in text}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=256))
async def test_any_text_is_answered(catalog_database: Database, text: str) -> None:
    assert await matches(catalog_database, text, shop="nowhere") == []


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("mugs", "mug"),
        ("boxes", "box"),
        ("glasses", "glass"),
        ("vases", "vase"),
        ("watches", "watch"),
        ("brushes", "brush"),
        ("candies", "candy"),
        ("cookies", "cookie"),
        ("shoes", "shoe"),
        ("potatoes", "potato"),
    ],
)
def test_a_plural_has_its_singular_among_its_forms(plural: str, singular: str) -> None:
    assert word_forms(plural)[0] == plural
    assert singular in word_forms(plural)[1:]
    assert word_forms(singular) == (singular,)


@pytest.mark.parametrize("word", ["bus", "gas", "iris", "cactus", "tea", "茶杯", "s"])
def test_what_looks_like_no_plural_is_left_alone(word: str) -> None:
    assert word_forms(word) == (word,)
