"""Filters of users: by id, tags and language, in both databases."""

import pytest

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.people.user_filters import user_condition
from endcap.catalog.people.user_records import UserRecord, list_user_records, upsert_user_records
from endcap.sdk.errors import InvalidInput


RECORDS = (
    UserRecord("a", tags=("vip", "l'or"), language_code="de"),
    UserRecord("b", tags=('100% "x"',)),
    UserRecord("ä", tags=("vip",), language_code="en-GB"),
)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ["a", "b", "ä"]),
        ("tags:vip", ["a", "ä"]),
        ("NOT tags = vip", ["b"]),
        ('tags:"l\'or" OR tags:"100% \\"x\\""', ["a", "b"]),
        ("tags:VIP", []),
        ('tags:(vip AND "l\'or")', ["a"]),
        ("language_code = de", ["a"]),
        ("language_code != de", ["ä"]),
        ("NOT language_code = de", ["b", "ä"]),
        ('id = ("a" OR "ä")', ["a", "ä"]),
        ("user_id != a AND tags:vip", ["ä"]),
    ],
)
async def test_a_list_holds_the_users_who_meet_the_filter(
    catalog_database: Database, text: str, ids: list[str]
) -> None:
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="other", now=1)
        for shop, records in (("default", RECORDS), ("other", [UserRecord("c", tags=("vip",))])):
            await upsert_user_records(connection=connection, shop=shop, records=records, now=1)
        found = await list_user_records(
            connection=connection,
            shop="default",
            limit=9,
            condition=user_condition(text, connection.dialect.name),
        )

    assert [record.id for record in found] == ids


@pytest.mark.parametrize(
    "text",
    ["vip", "tags:v*", "tags:*", "tags != vip", "tags < 3", "id:a", "id > a", "attributes.x = 1", "a AND"],
)
def test_a_filter_beyond_ids_tags_and_languages_is_rejected(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        user_condition(text, "sqlite")

    assert caught.value.field == "filter"
