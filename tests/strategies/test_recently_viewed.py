from typing import Any

from endcap.sdk import Task
from endcap.sdk.testing import StrategyContract
from endcap.strategies.recently_viewed import RecentlyViewed


VIEWED: dict[str, Any] = {"task": Task.RECENTLY_VIEWED, "history_type": "view"}


class TestRecentlyViewed(StrategyContract):
    strategy = RecentlyViewed

    def test_the_newest_comes_first_and_none_twice(self) -> None:
        shop = self.shop(["cup", "lamp", "tray"])

        assert shop.recommend(["cup", "lamp", "cup", "tray", "lamp"], **VIEWED) == ["lamp", "tray", "cup"]

    def test_purchases_are_no_views(self) -> None:
        assert self.shop(["cup"]).recommend(["cup"], task=Task.RECENTLY_VIEWED) == []

    def test_what_must_not_be_shown_makes_room_for_the_next(self) -> None:
        shop = self.shop(["cup", "lamp", "tray"])

        assert shop.recommend(["tray", "cup", "lamp"], n=2, exclude=["cup"], **VIEWED) == ["lamp", "tray"]

    def test_the_reason_is_that_it_was_viewed(self) -> None:
        ranking = self.shop(["cup"]).rank(["cup"], explain=True, **VIEWED)

        assert [reason.kind for reason in ranking.reasons[0]] == ["viewed"]
