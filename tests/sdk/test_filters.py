"""Filters over a view: what each operator means by field, worked by hand and against a plain reading."""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk import CatalogView, Labels, filters
from endcap.sdk.errors import InvalidInput
from endcap.sdk.filter_expression import And, Comparison, Expression, Literal, Not, Or
from endcap.sdk.filter_texts import TextColumn
from endcap.sdk.filters import ITEM_FIELDS, MAX_SEARCHES, parse_filter
from endcap.sdk.testing import SampleItem, catalog


SHOP = [
    SampleItem(
        "lamp",
        "Desk Lamp",
        ("home", "Home > Light"),
        price=20,
        days_old=1,
        brand="Acme",
        tags=("sale", "led"),
        description="A lamp for the desk.",
        group_id="lamps",
        original_price=25,
        attributes={"colour": "red", "watts": 9, "fits": ["E27", "E14"], "dimmable": True, "mixed": "high"},
    ),
    SampleItem(
        "mug",
        "Straße Mug",
        ("kitchen",),
        price=8.5,
        days_old=30,
        brand="Zenith Acme",
        availability="preorder",
        attributes={"colour": "blue", "dimmable": False, "mixed": 2},
    ),
    SampleItem("toy", "花园玩具 Toy", ("toys",), available=False, days_old=400, tags=("sale",)),
    SampleItem("blank"),
]
"""The blank item has neither title, price, brand nor anything else; it is as old as the others' now."""

VIEW = catalog(SHOP)


def met_by(text: str, view: CatalogView = VIEW) -> list[str]:
    """Return the ids of the items that meet a filter."""
    mask = parse_filter(text).mask(view)
    return [view.vocabulary.ids[row] for row in np.flatnonzero(mask)]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", "lamp mug toy blank"),
        ("  ", "lamp mug toy blank"),
        # Numbers: what has no price meets no comparison of prices, and so its negation.
        ("price = 20", "lamp"),
        ("price:8.5", "mug"),
        ('price < "20"', "mug"),
        ("price <= 20", "lamp mug"),
        ("price > 8.5", "lamp"),
        ("price >= 8.5", "lamp mug"),
        ("price != 20", "mug"),
        ("NOT price = 20", "mug toy blank"),
        ("price < 20 OR price >= 20", "lamp mug"),
        ("price:*", "lamp mug"),
        ("-price:*", "toy blank"),
        ("price > -1", "lamp mug"),
        ("original_price > 24", "lamp"),
        # Texts: = is exact, : looks inside whatever the case.
        ('title = "Desk Lamp"', "lamp"),
        ('title = "desk lamp"', ""),
        ("title:LAMP", "lamp"),
        ("title:strasse", "mug"),
        ("title:玩具", "toy"),
        ("title:k", "lamp"),
        ('title = "Desk*"', "lamp"),
        ('title = "*Mug"', "mug"),
        ('title = "D*L*p"', "lamp"),
        ('title:"d*lamp"', "lamp"),
        (r'title = "Desk\*"', ""),
        ("title:*", "lamp mug toy"),
        ("title = *", "lamp mug toy"),
        ('title != "Desk Lamp"', "mug toy"),
        ('title != "Desk*"', "mug toy"),
        ('title < "E"', "lamp"),
        ('title >= "E"', "mug toy"),
        ("description:desk", "lamp"),
        ("id = mug", "mug"),
        ('item_id = ("mug" OR "toy")', "mug toy"),
        ("id = unheard-of", ""),
        ("id != mug", "lamp toy blank"),
        ("id:U", "mug"),
        ("id = *u*", "mug"),
        ('id < "m"', "lamp blank"),
        ("group_id = lamps", "lamp"),
        ("group_id:*", "lamp"),
        ('brand = "Acme"', "lamp"),
        ("brand:acme", "lamp mug"),
        ('brand != "Acme"', "mug"),
        ('NOT brand:"Acme"', "toy blank"),
        ("NOT brand:*", "toy blank"),
        ('brand > "B"', "mug"),
        # Lists: an element that is equal.
        ("categories:home", "lamp"),
        ("categories:Home", ""),
        ('category = "Home > Light"', "lamp"),
        ('category:"Home*"', "lamp"),
        ("tags:sale", "lamp toy"),
        ("tags = (sale AND led)", "lamp"),
        ("tags != led", "toy"),
        ("NOT tags:led", "mug toy blank"),
        ("tags:*", "lamp toy"),
        # Truth, times, the currency.
        ("available = true", "lamp mug blank"),
        ("available != true", "toy"),
        ('available:"false"', "toy"),
        ("available:*", "lamp mug toy blank"),
        ("create_time >= 2023-11-13T22:13:20Z", "lamp blank"),
        ('create_time < "2023-11-13T22:13:20.000Z"', "mug toy"),
        ("create_time = 2023-11-13T23:13:20+01:00", "lamp"),
        ('currency = "EUR"', ""),
        ("availability = preorder", "mug"),
        ("availability = Preorder", ""),
        ("availability != in_stock", "mug"),
        # Attributes: of whatever type the items have.
        ("attributes.colour = red", "lamp"),
        ("attributes.colour:re", ""),
        ("attributes.colour != red", "mug"),
        ('attributes.colour < "c"', "mug"),
        ("attributes.colour > 1", ""),
        ("attributes.watts > 5", "lamp"),
        ("attributes.watts != 5", "lamp"),
        ("attributes.watts = nine", ""),
        ("attributes.watts != nine", "lamp"),
        ("attributes.fits:E14", "lamp"),
        ("attributes.fits != E14", ""),
        ("attributes.dimmable = true", "lamp"),
        ("attributes.dimmable = false", "mug"),
        ("attributes.mixed = 2", "mug"),
        ("attributes.mixed = high", ""),
        ("attributes.mixed:*", "mug"),
        ("attributes:colour", "lamp mug"),
        ("attributes:watts", "lamp"),
        ("attributes.unheard_of = 1", ""),
        ("attributes.unheard_of != 1", ""),
        ("attributes:unheard_of", ""),
        # A value alone: in title, brand, categories and tags.
        ("lamp", "lamp"),
        ("ACME", "lamp mug"),
        ("kitchen", "mug"),
        ("sale -led", "toy"),
        ('"for the desk"', ""),
        ("*", "lamp mug toy"),
        ("red OR blue", ""),
        # Together.
        ('category = "toys" AND price < 20 AND NOT brand:"Acme"', ""),
        ("(price < 10 OR tags:sale) available = true", "lamp mug"),
    ],
)
def test_a_filter_is_met_by(text: str, ids: str) -> None:
    assert met_by(text) == ids.split()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("price = x", "character 9: price is a number such as 19.99 and 'x' is not"),
        ("price = 2*", "price is a number such as 19.99 and '2*' is not"),
        ("price < 1e999", "price is a number such as 19.99 and '1e999' is not"),
        ("original_price = true", "original_price is a number"),
        ("title < 3", "character 9: title is a text and '3' a number; put it in quotes"),
        ('title < "a*"', "* goes with = != and : only"),
        ("tags < a", "character 1: tags is a list of texts, which takes no <; use != : ="),
        ('currency > "EUR"', "currency is a code, which takes no >; use != ="),
        ("currency:EUR", "currency is a code, which takes no :; use != ="),
        ("available > true", "available is true or false, which takes no >"),
        ("available = yes", "available is true or false and 'yes' is not"),
        ("create_time > 2026-01-31", "a time such as 2026-01-31T00:00:00Z and '2026-01-31' is not"),
        ("create_time > 5", "create_time is a time"),
        ("a AND colour = red", "character 7: field 'colour' does not exist; use one of attributes.<name>, "),
        ("cost > 1", "field 'cost' does not exist"),
        ("Price > 1", "field 'Price' does not exist"),
        ("title.x = 1", "field 'title.x' does not exist"),
        ("attributes. = 1", "field 'attributes.' does not exist"),
        (".x = 1", "field '.x' does not exist"),
        ("attributes = red", "attributes is a map of attributes; compare one, such as attributes.colour"),
        ("attributes:*", "attributes is a map of attributes; compare one, such as attributes.colour"),
        ("рrice > 1", "field 'рrice' does not exist"),  # the first letter is Cyrillic
        ("x" * 4_000 + " = 1", f"field '{'x' * 32}…' does not exist"),
    ],
)
def test_a_filter_that_no_item_could_answer_is_rejected(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_filter(text)

    assert refused.value.field == "filter"
    assert problem in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("title:a", 1),
        ("title:a*b", 2),
        ("title=a*", 2),
        ("title=a*b*c", 3),
        ("title<a", 1),
        ("tags:a*", 2),
        ("attributes.colour=a*", 2),
        ("description:a", 2),
        ("description:a*b", 4),
        ("a", 2),
        ("a*b", 4),
    ],
)
def test_what_looks_into_texts_counts_by_its_parts(condition: str, count: int) -> None:
    as_often = MAX_SEARCHES // count

    parse_filter(f"{condition} OR " * (as_often - 1) + condition)
    with pytest.raises(InvalidInput, match="a filter looks into texts at most 64 times"):
        parse_filter(f"{condition} OR " * as_often + condition)


def test_what_is_merely_equal_is_no_search() -> None:
    assert met_by('id = ("mug" OR "' + '" OR "'.join(f"item {number}" for number in range(200)) + '")') == [
        "mug"
    ]
    assert met_by("group_id = lamps AND " * 100 + "tags:s*") == ["lamp"]
    assert met_by("tags:sale " * 200) == met_by("tags:sale")


def test_what_an_item_costs_the_shop_is_no_field() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_filter("cost > 1")

    assert "cost" not in ITEM_FIELDS
    assert str(refused.value).count("cost") == 1


def test_a_currency_is_that_of_each_item() -> None:
    items = [SampleItem("mug", price=8), SampleItem("pot", price=8), SampleItem("cup")]
    view = replace(catalog(items), currency="EUR", currencies=Labels.of([["EUR"], ["USD"], []]))

    assert met_by("currency = EUR", view) == ["mug"]
    assert met_by("currency != USD", view) == ["mug"]
    assert met_by("currency = USD", view) == ["pot"]


def test_an_attribute_that_is_a_time_compares_with_one() -> None:
    view = catalog(
        [
            SampleItem("old", attributes={"launched": 0}),
            SampleItem("new", attributes={"launched": 86_400_000.0}),
        ]
    )

    assert met_by("attributes.launched > 1970-01-01T12:00:00Z", view) == ["new"]


def test_the_servers_page_shows_filters_that_parse_and_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "server" / "README.md").read_text()
    section = page.partition("## Filters")[2].partition("\n## ")[0]

    for line in section.partition("```text\n")[2].partition("```")[0].splitlines():
        parse_filter(line)
    assert set(ITEM_FIELDS) - {"item_id", "category", "attributes"} <= set(re.findall(r"`(\w+)`", section))


def test_filters_of_one_text_are_one_filter() -> None:
    assert parse_filter("price < 20") == parse_filter("price < 20")
    assert len({parse_filter("price < 20"), parse_filter("price < 20"), parse_filter("price<20")}) == 2
    assert parse_filter("price < 20").text == "price < 20"


def test_a_mask_cannot_be_written_to_and_is_not_the_views() -> None:
    for text in ("", "available = true", "available:*", "tags:sale", "title:lamp"):
        mask = parse_filter(text).mask(VIEW)

        assert mask.shape == (4,)
        assert mask.dtype == np.bool_
        assert not mask.flags.writeable
        assert not np.shares_memory(mask, VIEW.available)


def test_a_view_without_items_is_filtered_too() -> None:
    for text in ("", "a", "price < 1", "tags:a", "currency = EUR", "NOT title:*", "attributes:x"):
        assert parse_filter(text).mask(catalog([])).shape == (0,)


def test_a_hostile_pattern_meets_long_texts() -> None:
    view = catalog([SampleItem("a", "a" * 20_000), SampleItem("b", "a" * 20_000 + "b")])

    assert met_by(f'title = "{"*a" * 60}*b"', view) == ["b"]
    assert met_by(f'title:"{"a*" * 60}c"', view) == []


def test_what_means_something_in_patterns_means_itself_in_filters() -> None:
    view = catalog([SampleItem("a", "50% (x|y).+ a\\b\nz"), SampleItem("b", "50% xy a b z")])

    assert met_by('title:"(X|Y).+"', view) == ["a"]
    assert met_by('title:"(x|y)*+*z"', view) == ["a"]
    assert met_by('title = "50*(x|y).+*z"', view) == ["a"]


def test_a_long_column_is_read_to_its_end() -> None:
    view = catalog(SampleItem(f"item {number}", f"Straße {number}") for number in range(2_500))

    assert met_by('title:"STRASSE 2499"', view) == ["item 2499"]
    assert met_by('title:"s*e 1023"', view) == ["item 1023"]


# A second reading of filters, item by item, by other means than the masks: it shares only the parser.

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TEXTS: dict[str, Callable[[SampleItem], Sequence[str]]] = {
    "id": lambda item: [item.id],
    "title": lambda item: [item.title],
    "brand": lambda item: [item.brand],
    "tags": lambda item: item.tags,
    "category": lambda item: item.categories,
    "attributes.colour": lambda item: [str(item.attributes.get("colour", ""))],
}
SEARCHED = ("title", "brand", "tags", "category")
NUMBERS: dict[str, Callable[[SampleItem], float]] = {
    "price": lambda item: item.price,
    "attributes.size": lambda item: float(str(item.attributes.get("size", nan))),
}


def meets(item: SampleItem, expression: Expression) -> bool:
    match expression:
        case And(operands):
            return all(meets(item, operand) for operand in operands)
        case Or(operands):
            return any(meets(item, operand) for operand in operands)
        case Not(operand):
            return not meets(item, operand)
        case Literal(value):
            return any(contains(text, value.text) for field in SEARCHED for text in TEXTS[field](item))
        case Comparison(field, comparator, value):
            return comparison_meets(item, field, comparator, value.text)


def comparison_meets(item: SampleItem, field: str, comparator: str, wanted: str) -> bool:
    if field == "available":
        return (item.available == (wanted == "true")) == (comparator != "!=")
    if field in NUMBERS:
        return number_meets(NUMBERS[field](item), comparator, wanted)
    texts = [text for text in TEXTS[field](item) if text]
    if comparator == ":" and field in {"id", "title", "brand"}:
        return any(contains(text, wanted) for text in texts)
    return texts_meet(texts, comparator, wanted)


def contains(text: str, pattern: str) -> bool:
    return bool(text) and fnmatchcase(text.lower(), f"*{pattern.lower()}*")


def number_meets(number: float, comparator: str, text: str) -> bool:
    if isnan(number):
        return False
    if comparator == ":" and text == "*":
        return True
    if comparator in ORDERS:
        return ORDERS[comparator](number, float(text))
    return (number == float(text)) == (comparator != "!=")


def texts_meet(texts: Sequence[str], comparator: str, pattern: str) -> bool:
    if comparator in ORDERS:
        return any(ORDERS[comparator](text, pattern) for text in texts)
    if comparator == "!=":
        return bool(texts) and not any(fnmatchcase(text, pattern) for text in texts)
    return any(fnmatchcase(text, pattern) for text in texts)


WORDS = st.text("abA", min_size=1, max_size=3)
PATTERNS = st.text("abA*", min_size=1, max_size=4)
AMOUNTS = st.sampled_from(["0", "1", "2", "1.5"])
PRICES = st.sampled_from([nan, 0.0, 1.0, 1.5, 2.0])
COMPARISONS = st.one_of(
    st.builds("{}{}{}".format, st.just("price"), st.sampled_from(["=", "!=", ":", *ORDERS]), AMOUNTS),
    st.builds(
        "{}{}{}".format, st.just("attributes.size"), st.sampled_from(["=", "!=", ":", *ORDERS]), AMOUNTS
    ),
    st.sampled_from(["price:*", "tags:*", "title:*", "brand:*", "attributes.size:*", "attributes.colour:*"]),
    st.sampled_from(["available=true", "available!=true", "available:false"]),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(list(TEXTS)),
        st.sampled_from(["=", "!=", ":"]),
        PATTERNS,
    ),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["id", "title", "brand", "attributes.colour"]),
        st.sampled_from(list(ORDERS)),
        WORDS,
    ),
    PATTERNS,
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds("{} {}".format, inner, inner),
        st.builds("{} AND {}".format, inner, inner),
        st.builds("{} OR {}".format, inner, inner),
        st.builds("NOT ({})".format, inner),
        st.builds("-({})".format, inner),
        st.builds("({})".format, inner),
    ),
    max_leaves=8,
)
ITEMS = st.lists(
    st.builds(
        SampleItem,
        id=WORDS,
        title=st.text("abA", max_size=4),
        brand=st.text("abA", max_size=2),
        tags=st.lists(WORDS, max_size=2).map(tuple),
        categories=st.lists(WORDS, max_size=2).map(tuple),
        price=PRICES,
        available=st.booleans(),
        attributes=st.fixed_dictionaries(
            {}, optional={"size": st.sampled_from([0.0, 1.0, 1.5]), "colour": WORDS}
        ),
    ),
    max_size=6,
    unique_by=lambda item: item.id,
)


@given(ITEMS, FILTERS)
def test_a_mask_agrees_with_a_reading_item_by_item(items: list[SampleItem], text: str) -> None:
    condition = parse_filter(text)

    assert condition.mask(catalog(items)).tolist() == [meets(item, condition.expression) for item in items]


@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    f"{name}{comparator}"
                    for name in ITEM_FIELDS
                    for comparator in ("=", "!=", "<", ">=", ":")
                ),
                *(
                    "attributes.colour=",
                    "attributes.watts<",
                    "attributes.x:",
                    " ",
                    " AND ",
                    " OR ",
                    "NOT ",
                    "(",
                ),
                *(
                    ")",
                    "*",
                    "5",
                    "-1",
                    "true",
                    "lamp",
                    '"a b"',
                    "2026-01-31T00:00:00Z",
                    "sale",
                    '"\\*"',
                    "\x00",
                ),
            ]
        )
    ).map("".join)
)
def test_any_filter_gives_a_mask_or_is_rejected(text: str) -> None:
    try:
        condition = parse_filter(text)
    except InvalidInput as refused:
        str(refused).encode()
        return

    assert condition.mask(VIEW).shape == (len(VIEW),)


def test_texts_are_read_once_although_counts_change(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Sequence[str]] = []

    def note(texts: Sequence[str]) -> TextColumn:
        read.append(texts)
        return TextColumn(texts)

    monkeypatch.setattr(filters, "TextColumn", note)
    view, mugs = catalog([SampleItem("a", "Mug"), SampleItem("b", "Lamp")]), parse_filter("title:mug")

    masks = [mugs.mask(each).tolist() for each in (view, replace(view, users_by_age={}))]
    renamed = mugs.mask(replace(view, titles=("Mug", "Lamp mug"))).tolist()

    assert masks == [[True, False]] * 2
    assert renamed == [True, True]
    assert read == [("Mug", "Lamp"), ("Mug", "Lamp mug")]
