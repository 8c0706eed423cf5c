"""Whatever a shop holds, both databases list what meets a filter by another, plain reading of it.

That reading comes straight from the grammar's description and uses none of our code. It reads a filter anew
for each entry and knows no tree: slow, short, and wrong in other ways than the real one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import count
from operator import ge, gt, le, lt
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from endcap.catalog.attributes import Moment
from endcap.catalog.database import Database
from endcap.catalog.filtering import ListFields, parse_list_filter
from endcap.catalog.items import Availability, Item, upsert_items
from endcap.catalog.listing import (
    ITEM_LIST_FIELDS,
    USER_LIST_FIELDS,
    list_matching_items,
    list_matching_users,
)
from endcap.catalog.shops import create_shop, get_shop
from endcap.catalog.user_records import UserRecord, upsert_user_records
from endcap.sdk.errors import InvalidInput


NOW = 1_700_000_000_000
NOW_TEXT = "2023-11-14T22:13:20"

Entry = Mapping[str, tuple[str, Any]]
"""By the name of a field its kind, such as text or number, and what it holds."""

ITEM_KINDS = {
    **dict.fromkeys(("id", "item_id", "group_id", "title", "description", "brand"), "text"),
    **dict.fromkeys(("categories", "category", "tags"), "texts"),
    **dict.fromkeys(("price", "original_price"), "number"),
    **dict.fromkeys(("currency", "availability", "language_code"), "code"),
    **dict.fromkeys(("create_time", "update_time", "available_time", "expire_time"), "time"),
    "available": "boolean",
    "attributes": "attributes",
}
USER_KINDS = {
    **dict.fromkeys(("id", "user_id"), "text"),
    "tags": "texts",
    "language_code": "code",
    **dict.fromkeys(("create_time", "update_time"), "time"),
    "attributes": "attributes",
}

# Few, so that filters meet what is stored: words within words, case that folds to other lengths, what the
# grammar or SQL takes for something else, what reads as a number, a truth or a time.
WORDS = ("acme", "Acme", "ACME kettle", "straße", "STRASSE", "ä", "İ", "😀", "de")
ODD = ("", "a*b", '100% "x"', "back\\slash", "l'or", "5", "true", "AND", NOW_TEXT + "Z")
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
TEXTS = st.sampled_from((*WORDS, *ODD)) | ANY
LISTS = st.lists(TEXTS, max_size=3)
MOMENTS = st.sampled_from((0, NOW - 1, NOW, NOW + 1, -1_000))
NANOS = st.none() | st.sampled_from((0, 1, 20 * 10**9, 20 * 10**9 + 1, 19_990_000_000, 9_000_000_010_000_000))
ATTRIBUTES = st.dictionaries(
    st.sampled_from(("colour", "size", "since")),
    TEXTS | LISTS | st.booleans() | st.sampled_from((0.0, 5.0, -1.5, float(NOW))) | MOMENTS.map(Moment),
    max_size=3,
)
ITEMS = st.builds(
    Item,
    id=TEXTS.filter(bool),
    title=TEXTS,
    description=TEXTS,
    brand=TEXTS,
    group_id=TEXTS,
    language_code=st.sampled_from(("", "de", "en-GB")),
    categories=LISTS.map(tuple),
    tags=LISTS.map(tuple),
    attributes=ATTRIBUTES,
    price_nanos=NANOS,
    original_price_nanos=NANOS,
    currency=st.sampled_from(("", "GBP", "EUR")),
    availability=st.sampled_from(Availability),
    available_time=st.none() | MOMENTS,
    expire_time=st.none() | MOMENTS,
    created_time=MOMENTS,
)
RECORDS = st.builds(
    UserRecord,
    id=TEXTS.filter(bool),
    tags=LISTS.map(tuple),
    attributes=ATTRIBUTES,
    language_code=st.sampled_from(("", "de", "en-GB")),
    created_time=MOMENTS,
)

VALUES = st.lists(TEXTS, min_size=1, max_size=3).map(lambda pieces: "*".join(map(_escaped, pieces)))
WRITTEN = VALUES.map('"{}"'.format) | st.sampled_from(("acme", "de", "*", "a*", "5", "true", "red", "-1.5"))
TIMES = st.sampled_from([f"{NOW_TEXT}{rest}" for rest in ("Z", ".001Z", ".0005Z")] + ["1970-01-01T00:00:00Z"])
ORDERS = ("=", "!=", "<", "<=", ">", ">=", ":")
OPERATORS_AND_VALUES: Mapping[str, tuple[Sequence[str], st.SearchStrategy[str]]] = {
    "text": (ORDERS, WRITTEN),
    "texts": (("=", "!=", ":"), WRITTEN),
    "code": (
        ("=", "!="),
        st.sampled_from(("de", "GBP", "EUR", "in_stock", "preorder", '"en-GB"', "*", "e*")),
    ),
    "number": (ORDERS, st.sampled_from(("20", "19.99", "0", "-1", '"20"', "20.0000000005", "9000000.01"))),
    "time": (ORDERS, TIMES | TIMES.map('"{}"'.format)),
    "boolean": (("=", "!=", ":"), st.sampled_from(("true", "false"))),
    "attributes": (ORDERS, WRITTEN | TIMES),
}


def _escaped(text: str) -> str:
    return "".join(f"\\{character}" if character in '\\"*' else character for character in text)


@st.composite
def conditions(draw: st.DrawFn, kinds: Mapping[str, str]) -> str:
    """Draw one condition: a value alone, or a field with one value or several."""
    if draw(st.integers(0, 7)) == 0:
        return draw(VALUES.map('"{}"'.format) | st.sampled_from(("acme", "*", "stra*")))
    name = draw(st.sampled_from(sorted(kinds)))
    operators, values = OPERATORS_AND_VALUES[kinds[name]]
    if kinds[name] == "attributes":
        attribute = draw(st.sampled_from(("colour", "size", "since", "none")))
        if draw(st.integers(0, 4)) == 0:
            return f"attributes:{attribute}"
        name = f"attributes.{attribute}"
    operator, value = draw(st.sampled_from(operators)), draw(values)
    if draw(st.integers(0, 4)) == 0:
        value = f"({value} {draw(st.sampled_from(('OR', 'AND', 'OR NOT')))} {draw(values)})"
    return f"{name} {operator} {value}"


def filters(kinds: Mapping[str, str], fields: ListFields) -> st.SearchStrategy[str]:
    """Draw filters of which the fields can answer everything."""

    def is_in_order(text: str) -> bool:
        try:
            parse_list_filter(text, fields)
        except InvalidInput:  # such as title < 5
            return False
        return True

    def joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        simple = inner | inner.map("({})".format)
        term = simple | simple.map("NOT ({})".format) | inner.map("-({})".format)
        factor = st.lists(term, min_size=1, max_size=2).map(" OR ".join)
        sequence = st.lists(factor, min_size=1, max_size=2).map(" ".join)
        return st.lists(sequence, min_size=1, max_size=2).map(" AND ".join)

    one = conditions(kinds).filter(is_in_order)
    negated = one.flatmap(lambda text: st.sampled_from((f"NOT {text}", f"-{text}")))
    return st.recursive(one | negated.filter(is_in_order), joined, max_leaves=6)


def entry_of_item(item: Item) -> Entry:
    """Say what the fields of an item of a shop that reckons in pounds hold, by kind."""
    is_comparable = item.currency in {"", "GBP"}
    price, original = (
        nanos / 10**9 if nanos is not None and is_comparable else None
        for nanos in (item.price_nanos, item.original_price_nanos)
    )
    starts = item.available_time if item.available_time is not None else NOW
    ends = item.expire_time if item.expire_time is not None else NOW + 1
    held: dict[str, Any] = {
        "id": item.id,
        "item_id": item.id,
        "categories": item.categories,
        "category": item.categories,
        "price": price,
        "original_price": original,
        "currency": item.currency or "GBP",
        "available": starts <= NOW < ends and str(item.availability) != "out_of_stock",
        "create_time": item.created_time,
        "update_time": NOW,
    }
    return {
        name: (kind, held[name] if name in held else getattr(item, name)) for name, kind in ITEM_KINDS.items()
    }


def entry_of_user(record: UserRecord) -> Entry:
    """Say what the fields of a user hold, by kind."""
    held = {
        "user_id": record.id,
        "create_time": record.created_time,
        "update_time": NOW,
    }
    return {
        name: (kind, held[name] if name in held else getattr(record, name))
        for name, kind in USER_KINDS.items()
    }


_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
_NUMBER = r"-?\d+(?:\.\d+)?"
_TOKEN = re.compile(
    rf"""\s*([()] | [!<>]?= | [<>:] | (?<![=<>:][ ])- | {_TIME} | "(?:[^"\\]|\\.)*" | [^\s()"<>=!:]+)""",
    re.VERBOSE | re.DOTALL,
)
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def meets(text: str, entry: Entry, searched: Sequence[str]) -> bool:
    """Return whether an entry meets a filter that is in order."""
    tokens = _TOKEN.findall(text)
    return not tokens or _Reader(tokens, entry, searched).expression()


class _Reader:
    def __init__(self, tokens: list[str], entry: Entry, searched: Sequence[str]) -> None:
        self._tokens = [*tokens, ""]
        self._entry = entry
        self._searched = searched
        self._compared: tuple[str, str] | None = None  # what the values in parentheses are compared with

    def expression(self) -> bool:
        met = self._sequence()
        while self._takes("AND"):
            met &= self._sequence()
        return met

    def _sequence(self) -> bool:
        met = self._factor()
        while self._tokens[0] not in {"", ")", "AND"}:
            met &= self._factor()
        return met

    def _factor(self) -> bool:
        met = self._term()
        while self._takes("OR"):
            met |= self._term()
        return met

    def _term(self) -> bool:
        if self._takes("NOT") or self._takes("-"):
            return not self._simple()
        return self._simple()

    def _simple(self) -> bool:
        if self._takes("("):
            met = self.expression()
            assert self._takes(")")
            return met
        token = self._tokens.pop(0)
        if self._compared is not None:
            return _is_met(self._entry, *self._compared, token)
        if self._tokens[0] not in {"=", "!=", ":", *_ORDERS}:
            return any(_contains(_texts(self._entry[name][1]), token) for name in self._searched)
        self._compared = (token, self._tokens.pop(0))
        met = self._simple()
        self._compared = None
        return met

    def _takes(self, token: str) -> bool:
        if self._tokens[0] != token:
            return False
        del self._tokens[0]
        return True


def _is_met(entry: Entry, name: str, operator: str, token: str) -> bool:
    root, _, attribute = name.partition(".")
    kind, held = entry[root]
    if kind == "attributes":
        held = held.get(attribute or _spelled(token))
        if not attribute:
            return _is_there(held)
        kind = "number" if isinstance(held, int | float) and not isinstance(held, bool) else "texts"
    if not _is_there(held):
        return False  # what is lacking meets no comparison
    if kind == "text" and operator == ":":
        return _contains([held], token)
    if kind in {"number", "time", "boolean"}:
        return _scalar(held, operator, token)
    if operator in _ORDERS:
        is_bare = re.fullmatch(_NUMBER, token)
        return not is_bare and any(_ORDERS[operator](each, _spelled(token)) for each in _texts(held) if each)
    is_equal = any(re.fullmatch(_pattern(token), each, re.DOTALL) for each in _texts(held))
    return not is_equal if operator == "!=" else is_equal


def _scalar(held: Any, operator: str, token: str) -> bool:
    spelled = _spelled(token)
    wanted: Any = None
    if re.fullmatch(_NUMBER, spelled):
        wanted = float(spelled)
    elif re.fullmatch(_TIME, spelled):
        wanted = datetime.fromisoformat(spelled).timestamp() * 1_000
    elif spelled in {"true", "false"} and isinstance(held, bool):
        wanted = spelled == "true"
    if spelled == "*":
        return operator != "!="
    if operator in _ORDERS:
        return wanted is not None and _ORDERS[operator](held, wanted)
    return bool(held != wanted) if operator == "!=" else bool(held == wanted)


def _is_there(held: Any) -> bool:
    return isinstance(held, bool | int | float) or (held is not None and any(_texts(held)))


def _texts(held: Any) -> Sequence[str]:
    if isinstance(held, bool):
        return ["true" if held else "false"]
    return [held] if isinstance(held, str) else held


def _contains(texts: Sequence[str], token: str) -> bool:
    if _spelled(token) == "*":
        return any(texts)
    pattern = re.compile(_pattern(token, str.casefold), re.DOTALL)
    return any(each and pattern.search(each.casefold()) for each in texts)


def _spelled(token: str) -> str:
    inner = token[1:-1] if token.startswith('"') else token
    return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL)


def _pattern(token: str, folded: Callable[[str], str] = str) -> str:
    """Return the regular expression of a value: ``*`` is anything, a backslash takes a character as it is."""
    inner = token[1:-1] if token.startswith('"') else token
    pieces = re.findall(r"\\.|[^\\]", inner, re.DOTALL)
    return "".join(".*" if piece == "*" else re.escape(folded(piece[-1])) for piece in pieces)


_shop_numbers = count()
PROPERTY = settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


async def _new_shop(database: Database) -> str:
    name = f"shop-{next(_shop_numbers)}"
    async with database.write() as connection:
        await create_shop(connection=connection, shop=name, now=NOW, currency="GBP")
    return name


def _with_attributes_of_one_type(items: Sequence[Item]) -> list[Item]:
    """Leave out what is of another type than the first value of its attribute."""
    types: dict[str, type] = {}
    for item in items:
        for name, value in item.attributes.items():
            types.setdefault(name, type(value))
    return [
        replace(
            item,
            attributes={name: each for name, each in item.attributes.items() if type(each) is types[name]},
        )
        for item in items
    ]


@PROPERTY
@given(
    items=st.lists(ITEMS, max_size=5, unique_by=lambda item: item.id),
    texts=st.lists(filters(ITEM_KINDS, ITEM_LIST_FIELDS), min_size=5, max_size=10),
)
async def test_a_list_of_any_items_holds_those_that_meet_any_filter(
    items: list[Item], texts: list[str], catalog_database: Database
) -> None:
    shop = await _new_shop(catalog_database)
    counted = _with_attributes_of_one_type(items)
    async with catalog_database.write() as connection:
        await upsert_items(connection=connection, shop=shop, items=items, now=NOW)
    async with catalog_database.read() as connection:
        for text in texts:
            page = await list_matching_items(
                connection=connection,
                shop=await get_shop(connection=connection, shop=shop),
                expression=parse_list_filter(text, ITEM_LIST_FIELDS),
                limit=10,
                after="",
                now=NOW,
            )
            met = [
                item.id
                for item in counted
                if meets(text, entry_of_item(item), ("title", "brand", "categories", "tags"))
            ]
            assert [item.id for item in page.entries] == sorted(met), text


@PROPERTY
@given(
    records=st.lists(RECORDS, max_size=5, unique_by=lambda record: record.id),
    texts=st.lists(filters(USER_KINDS, USER_LIST_FIELDS), min_size=5, max_size=10),
)
async def test_a_list_of_any_users_holds_those_that_meet_any_filter(
    records: list[UserRecord], texts: list[str], catalog_database: Database
) -> None:
    shop = await _new_shop(catalog_database)
    async with catalog_database.write() as connection:
        await upsert_user_records(connection=connection, shop=shop, records=records, now=NOW)
    async with catalog_database.read() as connection:
        for text in texts:
            page = await list_matching_users(
                connection=connection,
                shop=shop,
                expression=parse_list_filter(text, USER_LIST_FIELDS),
                limit=10,
                after="",
            )
            met = [record.id for record in records if meets(text, entry_of_user(record), ("id", "tags"))]
            assert [record.id for record in page.entries] == sorted(met), text


def test_every_field_is_drawn() -> None:
    assert set(ITEM_KINDS) == set(ITEM_LIST_FIELDS.types)
    assert set(USER_KINDS) == set(USER_LIST_FIELDS.types)


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("", True),
        ("brand = Acme AND price < 20 OR price > 30", False),
        ("(brand = Acme AND price < 20) OR price > 30", True),
        ("price > 30 brand:zen", True),
        ("-brand:zen OR price != 40", False),
        ("NOT original_price < 20", True),
        ("original_price != 20", False),
        ('brand = ("Acme" OR "Ze*")', True),
        ('brand = "Z\\*"', False),
        ("tags != new", True),
        ("attributes:size attributes.size >= 5 -attributes:colour", True),
        ("create_time = 2023-11-14T22:13:20Z", True),
        ("ENIT", True),
    ],
)
def test_the_plain_reading_itself_is_right_where_it_can_be_checked_by_eye(text: str, is_met: bool) -> None:
    item = Item(
        "a", brand="Zenith", price_nanos=40 * 10**9, tags=("old",), attributes={"size": 5.0}, created_time=NOW
    )

    assert meets(text, entry_of_item(item), ("title", "brand", "categories", "tags")) is is_met
