from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from endcap.sdk import History, NoParameters, Query, Task
from endcap.sdk.errors import FailedPrecondition, InvalidInput
from endcap.sdk.features import DAY
from endcap.sdk.testing import NOW, FakeResources, SampleEvent, SampleItem, SampleShop, StrategyContract
from endcap.strategies.cold_start import ColdStart, ColdStartParameters
from endcap.strategies.popular import Popular, PopularParameters
from endcap.strategies.recently_viewed import RecentlyViewed


POPULAR = Popular(FakeResources(), PopularParameters())
OLD = 400
"""Days after which nothing is new."""


def bought(item: str, count: int, days_ago: float) -> list[SampleEvent]:
    """Return purchases of one item by so many users of its own."""
    return [SampleEvent(f"{item} {days_ago} {number}", item, days_ago=days_ago) for number in range(count)]


def reasons(shop: SampleShop, query: Query) -> list[tuple[str, str]]:
    """Return the ids that are recommended, each with the kind of its reason; empty for none."""
    (ranking,) = shop.strategy.recommend([replace(query, explain=True)], shop.view)
    kinds = ["".join(reason.kind for reason in each) for each in ranking.reasons]
    return list(zip(shop.ids(ranking.rows), kinds, strict=True))


def with_purchases(shop: SampleShop, query: Query, purchases: Sequence[tuple[str, float]]) -> Query:
    """Return the query of a user who bought each item so many days ago, oldest first."""
    ids, days = zip(*purchases, strict=True)
    history = History(
        shop.view.vocabulary.known(ids),
        np.full(len(ids), "purchase"),
        np.array([NOW - round(age * DAY) for age in days], np.int64),
    )
    return replace(query, history=history)


class TestColdStart(StrategyContract):
    strategy = ColdStart
    parameters = ColdStartParameters()
    strategies = {"popular": POPULAR}  # noqa: RUF012

    def test_each_rule_follows_the_one_above(self) -> None:
        """Of the items that no rule speaks for, the popular one comes first."""
        shop = self.shop(
            [
                SampleItem("plain", days_old=OLD),
                SampleItem("liked", days_old=OLD),
                SampleItem("rising", days_old=OLD),
                SampleItem("arrived", days_old=3),
                SampleItem("reduced", days_old=OLD, price=6, original_price=10),
                SampleItem("cup", days_old=OLD, categories=("kitchen",)),
                SampleItem("soap", days_old=OLD),
            ],
            [*bought("liked", 2, 60), *bought("rising", 2, 1)],
        )
        query = with_purchases(shop, shop.query(), [("soap", 21), ("soap", 11)])

        answer = reasons(shop, replace(query, context={"category": "kitchen"}))

        assert answer == [
            ("soap", "buy_again"),
            ("cup", ""),  # which nobody bought
            ("reduced", "on_sale"),
            ("arrived", "new"),
            ("rising", "trending"),
            ("liked", "popular"),
            ("plain", ""),
        ]

    def test_the_first_rule_that_matches_ranks_the_item(self) -> None:
        shop = self.shop([SampleItem("mug", price=5, original_price=10, days_old=1)])

        assert reasons(shop, shop.query()) == [("mug", "on_sale")]

    def test_a_new_visitor_of_a_shop_without_categories_gets_a_full_list(self) -> None:
        shop = self.shop([SampleItem(name, days_old=OLD) for name in "abc"], bought("b", 1, 60))

        assert shop.recommend() == ["b", "a", "c"]

    def test_the_largest_reduction_comes_first(self) -> None:
        """Reduced by half, by a fifth, by a tenth; a twentieth is too little, and more is no reduction."""
        shop = self.shop(
            [
                SampleItem("a tenth", price=9, original_price=10, days_old=OLD),
                SampleItem("half", price=1, original_price=2, days_old=OLD),
                SampleItem("a twentieth", price=19, original_price=20, days_old=OLD),
                SampleItem("a fifth", price=80, original_price=100, days_old=OLD),
                SampleItem("dearer", price=11, original_price=10, days_old=OLD),
                SampleItem("no price", original_price=10, days_old=OLD),
            ]
        )

        on_sale = [name for name, kind in reasons(shop, shop.query()) if kind == "on_sale"]

        assert on_sale == ["half", "a fifth", "a tenth"]

    def test_of_the_new_items_the_popular_one_comes_first(self) -> None:
        shop = self.shop(
            [
                SampleItem("today", days_old=0),
                SampleItem("last week", days_old=7),
                SampleItem("last year", days_old=OLD),
            ],
            bought("last week", 1, 2),
        )

        new = [name for name, kind in reasons(shop, shop.query()) if kind == "new"]

        assert new == ["last week", "today"]

    def test_a_few_events_say_which_categories_are_wanted(self) -> None:
        """The visitor's last five events are in the kitchen, the one before them in the garden."""
        shop = self.shop(
            [
                SampleItem("pan", categories=("kitchen",), days_old=OLD),
                SampleItem("rake", categories=("garden",), days_old=OLD),
                SampleItem("cup", categories=("kitchen",), days_old=OLD),
            ],
            [*bought("rake", 9, 60), *bought("cup", 5, 60)],
        )
        query = shop.query(["rake", *["pan"] * 5], history_type="view")

        assert reasons(shop, query) == [
            ("cup", "category_best_seller"),
            ("pan", ""),
            ("rake", "popular"),
        ]

    def test_the_category_of_the_page_goes_before_that_of_the_history(self) -> None:
        shop = self.shop(
            [
                SampleItem("pan", categories=("kitchen",), days_old=OLD),
                SampleItem("rake", categories=("garden",), days_old=OLD),
            ],
            bought("rake", 1, 60),
        )
        query = replace(shop.query(["pan"]), context={"category": "garden"})

        assert reasons(shop, query)[0] == ("rake", "category_best_seller")

    def test_what_is_due_now_comes_before_what_is_nearly_due_or_overdue(self) -> None:
        """Intervals of 10 days: soap is due today; tea 2 days ago, at 10/12; rice in 4 days, at 6/10.

        Oil was bought 4 days ago, milk 31: too early and too late. Salt was bought once, in two pieces.
        """
        shop = self.shop(
            [SampleItem(name, days_old=OLD) for name in ("oil", "milk", "salt", "rice", "tea", "soap")]
        )
        purchases = [
            *[("milk", 41.0), ("soap", 30), ("milk", 31), ("tea", 22), ("soap", 20), ("rice", 16)],
            *[("oil", 14), ("tea", 12), ("soap", 10), ("salt", 10), ("salt", 10), ("rice", 6), ("oil", 4)],
        ]

        answer = reasons(shop, with_purchases(shop, shop.query(), purchases))

        assert [name for name, kind in answer if kind == "buy_again"] == ["soap", "tea", "rice"]

    def test_views_are_no_purchases(self) -> None:
        shop = self.shop([SampleItem("soap", days_old=OLD)])

        assert reasons(shop, shop.query(["soap"] * 3, history_type="view")) == [("soap", "")]

    def test_what_may_not_be_shown_is_not(self) -> None:
        shop = self.shop([SampleItem("soap", days_old=OLD), SampleItem("tea", days_old=OLD)])
        query = with_purchases(shop, shop.query(exclude=["soap"]), [("soap", 20), ("soap", 10)])

        assert reasons(shop, query) == [("tea", "")]

    def test_a_given_list_is_put_in_order(self) -> None:
        shop = self.shop(
            [
                SampleItem("plain", days_old=OLD),
                SampleItem("arrived"),
                SampleItem("reduced", "", (), 1, original_price=2),
            ]
        )

        assert shop.recommend(task=Task.RANK, candidates=["plain", "reduced"]) == ["reduced", "plain"]

    def test_the_scores_are_the_rule_and_the_place_by_it(self) -> None:
        """Trending is rule 1, new 2 and on sale 3; two items are on sale, one is new."""
        shop = self.shop(
            [
                SampleItem("half", price=5, original_price=10, days_old=OLD),
                SampleItem("plain", days_old=OLD),
                SampleItem("fifth", price=8, original_price=10, days_old=OLD),
                SampleItem("arrived"),
            ]
        )

        scores = shop.strategy.score([shop.query()], None, shop.view)  # type: ignore[attr-defined]

        np.testing.assert_allclose(scores, [[3 + 2 / 3, 1 / 2, 3 + 1 / 3, 2 + 1 / 2]], rtol=1e-6)


class TestColdStartWithRungsOfItsOwn(StrategyContract):
    strategy = ColdStart
    parameters = ColdStartParameters(rules="new, on_sale", new_days=2, discount=0.5)
    strategies = {"popular": POPULAR}  # noqa: RUF012

    def test_the_parameters_name_the_rules_and_what_they_match(self) -> None:
        shop = self.shop(
            [
                SampleItem("a week old", days_old=7),
                SampleItem("a third less", days_old=OLD, price=2, original_price=3),
                SampleItem("half", days_old=OLD, price=1, original_price=2),
                SampleItem("yesterday's", days_old=1),
            ]
        )

        assert reasons(shop, shop.query(n=3)) == [
            ("yesterday's", "new"),
            ("half", "on_sale"),
            ("a week old", ""),
        ]


@pytest.mark.parametrize("rules", ["new,old", "new,new", "popular"])
def test_rules_that_do_not_exist_are_rejected(rules: str) -> None:
    with pytest.raises(InvalidInput, match="at most once") as refused:
        ColdStart(FakeResources(strategies={"popular": POPULAR}), ColdStartParameters(rules=rules))

    assert refused.value.field == "rules"


def test_without_rules_everything_is_popular() -> None:
    resources = FakeResources(strategies={"popular": POPULAR})

    assert ColdStart(resources, ColdStartParameters(rules="")).tasks == {Task.FOR_YOU, Task.RANK}


def test_a_strategy_without_scores_cannot_be_the_floor() -> None:
    without = RecentlyViewed(FakeResources(), NoParameters())

    with pytest.raises(FailedPrecondition, match="scores of 'popular'"):
        ColdStart(FakeResources(strategies={"popular": without}), ColdStartParameters())
