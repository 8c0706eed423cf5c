from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from endcap.sdk import CatalogView, Eligibility, Query, Task
from endcap.sdk.testing import (
    CHECKERBOARD_IDS,
    FakeModel,
    SampleEvent,
    SampleItem,
    SampleShop,
    StrategyContract,
)
from endcap.sdk.vocabulary import Vocabulary
from endcap.strategies.popular import Popular, PopularParameters


PURCHASE = 5.0
"""What a purchase counts in every view of these tests."""


def bought(item: str, count: int, days_ago: float) -> list[SampleEvent]:
    """Return purchases of one item by so many users of its own."""
    return [SampleEvent(f"{item} {days_ago} {number}", item, days_ago=days_ago) for number in range(count)]


class TestPopularWithoutModel(StrategyContract):
    """It serves from memory, with the weights it carries."""

    strategy = Popular
    parameters = PopularParameters()

    def test_what_more_users_bought_in_the_last_month_comes_first(self) -> None:
        shop = self.shop(
            ["mug", "kettle", "tea"], [*bought("mug", 1, 5), *bought("kettle", 3, 20), *bought("tea", 2, 1)]
        )

        ranking = shop.rank()

        assert shop.ids(ranking.rows) == ["kettle", "tea", "mug"]
        assert ranking.scores.tolist() == [3 * PURCHASE, 2 * PURCHASE, 1 * PURCHASE]

    def test_a_user_counts_once_however_often_it_buys(self) -> None:
        shop = self.shop(
            ["mug", "tea"],
            [*[SampleEvent("ann", "mug", days_ago=day) for day in (1, 2, 3)], *bought("tea", 2, 1)],
        )

        assert shop.recommend() == ["tea", "mug"]

    def test_old_users_only_order_what_nobody_bought_lately(self) -> None:
        shop = self.shop(
            ["new", "old", "older"], [*bought("older", 2, 50), *bought("old", 5, 40), *bought("new", 1, 2)]
        )

        assert shop.recommend() == ["new", "old", "older"]

    def test_a_shop_without_events_still_shows_its_items(self) -> None:
        assert self.shop(["mug", "tea"]).recommend() == ["mug", "tea"]

    def test_items_of_the_same_category_come_first(self) -> None:
        shop = self.shop(
            [
                SampleItem("teapot", categories=("tea", "kitchen")),
                SampleItem("cup", categories=("kitchen",)),
                SampleItem("lamp", categories=("light",)),
                SampleItem("tray", categories=("kitchen", "garden")),
            ],
            [*bought("lamp", 9, 1), *bought("cup", 1, 1), *bought("tray", 2, 1), *bought("teapot", 4, 1)],
        )

        assert shop.recommend(task=Task.SIMILAR, items=["teapot"]) == ["tray", "cup", "lamp"]

    def test_without_categories_similar_is_what_is_popular(self) -> None:
        shop = self.shop(["teapot", "cup", "lamp"], bought("lamp", 2, 1))

        assert shop.recommend(task=Task.RELATED, items=["teapot"]) == ["lamp", "cup"]

    def test_trending_is_what_more_users_buy_than_the_items_past_lets_expect(self) -> None:
        """Now 6 + 4 users, past 2 + 18: half as many now. Expected: cup 1, tray 9."""
        shop = self.shop(
            ["cup", "tray"],
            [*bought("cup", 6, 2), *bought("cup", 2, 20), *bought("tray", 4, 2), *bought("tray", 18, 20)],
        )

        ranking = shop.rank(task=Task.TRENDING, explain=True)

        assert shop.ids(ranking.rows) == ["cup"]
        assert ranking.scores[0] == pytest.approx((6 - 1) / sqrt(1 + 1))
        assert [reason.kind for reason in ranking.reasons[0]] == ["trending"]

    def test_nothing_trends_in_a_shop_where_nobody_bought_for_weeks(self) -> None:
        assert self.shop(["cup", "tray"], bought("cup", 3, 20)).recommend(task=Task.TRENDING) == []

    def test_a_staple_does_not_trend_and_a_riser_does(self) -> None:
        """The same 50 buy milk every week; the cup went from 2 buyers a week to 10.

        Of 60 users now and 12 · 52 before, the cup is expected to have 24 · 60 / 624 = 2.31, milk 57.7.
        """
        milk = [
            SampleEvent(f"user {user}", "milk", days_ago=7 * week + 1)
            for user in range(50)
            for week in range(13)
        ]
        cup = [each for week in range(1, 13) for each in bought("cup", 2, 7 * week + 2)]
        shop = self.shop(["milk", "cup"], [*milk, *cup, *bought("cup", 10, 2)])

        ranking = shop.rank(task=Task.TRENDING)

        expected = 24 * 60 / 624
        assert shop.ids(ranking.rows) == ["cup"]
        assert ranking.scores[0] == pytest.approx((10 - expected) / sqrt(expected + 1))

    def test_event_types_are_weighed_after_they_are_counted(self) -> None:
        """The views of the cup say as much as before, 3 of 3; its purchases rose from 1 to 4."""
        views = [SampleEvent(f"{days} {user}", "cup", "view", days) for days in (2, 10) for user in range(3)]
        shop = self.shop(
            ["cup", "tea"], [*views, *bought("cup", 4, 2), *bought("cup", 1, 10), *bought("tea", 5, 10)]
        )

        ranking = shop.rank(task=Task.TRENDING)

        z = (4 - 4 / 6) / sqrt(4 / 6 + 1)
        assert ranking.scores.tolist() == pytest.approx([PURCHASE * z / sqrt(PURCHASE**2 + 1)])

    def test_after_a_nearly_empty_week_the_week_before_is_compared(self) -> None:
        """A lone lamp this week; the week before the cup rose from 2 buyers to 12, the tea kept its 20."""
        tea = [each for week in range(1, 13) for each in bought("tea", 20, 7 * week + 1)]
        cup = [each for week in range(2, 13) for each in bought("cup", 2, 7 * week + 1)]
        shop = self.shop(["lamp", "cup", "tea"], [*tea, *cup, *bought("cup", 12, 8), *bought("lamp", 1, 1)])

        assert shop.recommend(task=Task.TRENDING) == ["cup"]

    def test_an_item_that_more_speaks_against_than_for_comes_last_and_does_not_trend(self) -> None:
        returned = [SampleEvent(f"returner {number}", "cup", "return", 1) for number in range(9)]
        shop = self.shop(["cup", "tray", "lamp"], [*bought("cup", 2, 1), *bought("tray", 1, 1), *returned])
        view = replace(shop.view, event_weights={"purchase": PURCHASE, "return": -3.0})

        rated = SampleShop(shop.strategy, view)

        assert rated.recommend() == ["tray", "lamp", "cup"]
        assert rated.recommend(task=Task.TRENDING) == ["tray"]

    def test_a_given_list_is_put_in_order(self) -> None:
        shop = self.shop(["cup", "tray", "lamp"], [*bought("lamp", 2, 1), *bought("tray", 1, 1)])

        assert shop.recommend(task=Task.RANK, candidates=["cup", "lamp"]) == ["lamp", "cup"]

    def test_nothing_is_called_popular_that_nobody_chose(self) -> None:
        cup, tray, lamp = (SampleItem(name, categories=("kitchen",)) for name in ("cup", "tray", "lamp"))
        shop = self.shop([cup, tray, lamp], [*bought("tray", 1, 1), *bought("lamp", 1, 400)])

        for task, items in ((Task.FOR_YOU, []), (Task.SIMILAR, ["tray"])):
            ranking = shop.rank(explain=True, task=task, items=items)
            reasons = zip(shop.ids(ranking.rows), ranking.reasons, strict=True)
            popular = {name for name, given in reasons if [each.kind for each in given] == ["popular"]}

            assert popular == {"tray", "lamp"} - set(items)

    def test_users_are_counted_once_a_view_however_many_ask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        counted: list[CatalogView] = []
        count = CatalogView.weighted_users_by_age

        def counting(view: CatalogView) -> NDArray[np.float32]:
            counted.append(view)
            return count(view)

        monkeypatch.setattr(CatalogView, "weighted_users_by_age", counting)
        shop = self.shop(["mug", "tea"], bought("tea", 1, 2))
        answers = [shop.recommend(), shop.recommend(), shop.recommend(task=Task.TRENDING)]
        before = len(counted)
        later = replace(shop.view, users_by_age={"purchase": shop.view.users_by_age["purchase"][:, ::-1]})
        query = Query(Task.FOR_YOU, 1, 0, Eligibility(later.available))
        (ranking,) = shop.strategy.recommend([query], later)

        assert answers == [["tea", "mug"], ["tea", "mug"], ["tea"]]
        assert before == 1
        assert shop.ids(ranking.rows) == ["mug"]


class TestPopularWithModel(StrategyContract):
    """The model here counts nobody but users of the last day."""

    strategy = Popular
    parameters = PopularParameters()
    models = (
        FakeModel(
            "popular",
            Vocabulary(CHECKERBOARD_IDS),
            run=lambda inputs: {"scores": np.array(inputs["users_by_age"][0])},
        ),
    )

    def test_the_model_weighs_the_ages(self) -> None:
        shop = self.shop(["mug", "tea"], [*bought("mug", 5, 2), *bought("tea", 1, 0.5)])

        ranking = shop.rank()

        assert shop.ids(ranking.rows) == ["tea", "mug"]
        assert ranking.scores.tolist() == [PURCHASE, 0]


class TestPopularOfTheWeek(StrategyContract):
    """A window set by hand overrides the model."""

    strategy = Popular
    parameters = PopularParameters(window_days=7)
    models = (FakeModel("popular", Vocabulary(CHECKERBOARD_IDS), lambda _inputs: {}),)

    def test_what_more_users_bought_in_the_last_week_comes_first(self) -> None:
        shop = self.shop(["mug", "kettle"], [*bought("kettle", 9, 20), *bought("mug", 1, 5)])

        assert shop.recommend() == ["mug", "kettle"]
