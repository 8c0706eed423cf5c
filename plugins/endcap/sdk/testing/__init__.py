"""The contract-test kit: what every strategy promises, as tests to inherit, and a small shop to try it in.

::

    class TestNewest(StrategyContract):
        strategy = Newest

        def test_the_newest_item_comes_first(self) -> None:
            shop = self.shop([Item("mug", days_old=9), Item("kettle", days_old=1)])

            assert shop.recommend() == ["kettle", "mug"]

It needs nothing but the base install of Endcap and a test runner that collects classes, such as pytest.
"""

from endcap.sdk.testing.contract import StrategyContract
from endcap.sdk.testing.small_shop import (
    CHECKERBOARD_IDS,
    NOW,
    FakeModel,
    FakeResources,
    SampleEvent,
    SampleItem,
    SampleShop,
    catalog,
    checkerboard,
)


__all__ = [
    "CHECKERBOARD_IDS",
    "NOW",
    "FakeModel",
    "FakeResources",
    "SampleEvent",
    "SampleItem",
    "SampleShop",
    "StrategyContract",
    "catalog",
    "checkerboard",
]
