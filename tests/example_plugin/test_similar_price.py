"""Tests of the strategy ``similar_price``."""

from similar_price import SimilarPrice, SimilarPriceParameters

from endcap.sdk import Task
from endcap.sdk.testing import SampleItem, StrategyContract


SHELF = [
    SampleItem("mug", price=10),
    SampleItem("glass", price=8),
    SampleItem("cup", price=11),
    SampleItem("kettle", price=60),
]


class TestSimilarPrice(StrategyContract):
    """It keeps the contract of strategies, and goes by price."""

    strategy = SimilarPrice
    parameters = SimilarPriceParameters(tolerance=0.5)

    def test_the_closest_price_comes_first(self) -> None:
        """The cup costs 1 more than the mug, the glass 2 less, and the kettle is out of reach."""
        shop = self.shop(SHELF)

        assert shop.recommend(task=Task.SIMILAR, items=["mug"]) == ["cup", "glass"]

    def test_an_item_without_a_price_has_no_alternatives(self) -> None:
        """Where there is no price, none is similar."""
        shop = self.shop([*SHELF, SampleItem("gift card")])

        assert shop.recommend(task=Task.SIMILAR, items=["gift card"]) == []
