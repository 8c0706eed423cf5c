from collections.abc import Sequence
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk import NoParameters, Strategy, Task, Tensors
from endcap.sdk.errors import FailedPrecondition, NotFound
from endcap.sdk.testing import (
    CHECKERBOARD_IDS,
    FakeModel,
    FakeResources,
    SampleEvent,
    StrategyContract,
    catalog,
)
from endcap.sdk.testing import SampleShop as ShopOf
from endcap.sdk.vocabulary import Vocabulary
from endcap.strategies.ease import Ease
from endcap.strategies.popular import Popular, PopularParameters
from endcap.strategies.recently_viewed import RecentlyViewed
from endcap.strategies.search import Search, SearchParameters


TASTE = 0.1
"""The default."""

POPULAR = Popular(FakeResources(), PopularParameters())


def ease_of(ids: Sequence[str]) -> Ease:
    """Return an ease: who bought the first item likes each other one the more, the later it stands."""

    def run(inputs: Tensors) -> Tensors:
        bought_first = (inputs["weights"] * (inputs["rows"] == 0)).sum(axis=1, keepdims=True)
        return {"scores": (bought_first * np.arange(len(ids))).astype(np.float32)}

    return Ease(FakeResources([FakeModel("ease", Vocabulary(ids), run)]), NoParameters())


def shop(
    items: Sequence[str],
    events: Sequence[SampleEvent] = (),
    *,
    others: dict[str, Strategy] | None = None,
    parameters: SearchParameters | None = None,
) -> ShopOf:
    """Return a shop that searches, with others than popular to compose where there are any."""
    resources = FakeResources((), {"popular": POPULAR, **(others or {})})
    return ShopOf(Search(resources, parameters or SearchParameters()), catalog(items, events))


def logistic(z: float) -> float:
    return 1 / (1 + exp(-z))


class TestSearchWithoutModel(StrategyContract):
    strategy = Search
    parameters = SearchParameters()
    strategies = {"popular": POPULAR}  # noqa: RUF012

    def test_better_matches_come_first(self) -> None:
        found = self.shop(["mug", "cup", "tray"]).rank(
            task=Task.SEARCH, candidates=["tray", "mug"], relevance=[3, 1]
        )

        assert found.rows.tolist() == [2, 0]
        assert found.scores.tolist() == pytest.approx([1 + TASTE / 2, 1 / 3 + TASTE / 2])

    def test_equal_matches_keep_their_order(self) -> None:
        shop = self.shop(["mug", "cup", "tray"])

        assert shop.recommend(task=Task.SEARCH, candidates=["tray", "mug", "cup"], relevance=[2, 2, 2]) == [
            "tray",
            "mug",
            "cup",
        ]

    def test_of_near_equal_matches_the_popular_one_comes_first(self) -> None:
        """Scores of popularity are 0, 0 and 5: mean 5/3, standard deviation √(50/9)."""
        shop = self.shop(["mug", "cup", "tray"], [SampleEvent("ann", "tray")])
        z = (5 - 5 / 3) / (50 / 9) ** 0.5

        found = shop.rank(task=Task.SEARCH, candidates=["mug", "cup", "tray"], relevance=[1, 0.5, 0.97])

        assert shop.ids(found.rows) == ["tray", "mug", "cup"]
        assert found.scores[0] == pytest.approx(0.97 + TASTE * logistic(z))
        assert found.scores[1] == pytest.approx(1 + TASTE * logistic(-z / 2))

    def test_a_query_without_matches_has_an_empty_answer(self) -> None:
        shop = self.shop(["mug"])

        assert shop.recommend(task=Task.SEARCH, candidates=[], text="tray") == []
        assert shop.recommend(task=Task.SEARCH, text="tray") == []

    def test_what_must_not_be_shown_makes_room_for_the_next(self) -> None:
        shop = self.shop(["mug", "cup", "tray"])

        assert shop.recommend(
            n=1, task=Task.SEARCH, candidates=["mug", "cup", "tray"], relevance=[3, 2, 1], exclude=["mug"]
        ) == ["cup"]

    def test_only_matches_have_a_score(self) -> None:
        shop = self.shop(["mug", "cup", "tray"])
        query = shop.query(task=Task.SEARCH, candidates=["tray"], relevance=[2])

        scores = self.build().score([query], None, shop.view)  # type: ignore[attr-defined]

        assert np.isnan(scores).tolist() == [[True, True, False]]


class TestSearchWithTaste(StrategyContract):
    strategy = Search
    parameters = SearchParameters(personal="ease")
    strategies = {"popular": POPULAR, "ease": ease_of(CHECKERBOARD_IDS)}  # noqa: RUF012


ITEMS = ("teapot", "mug", "cup", "tray")


def test_of_near_equal_matches_the_one_to_the_users_taste_comes_first() -> None:
    """Of mug, cup and tray, ease gives 1, 2 and 3: z = −√1.5, 0, √1.5."""
    found = shop(ITEMS, others={"ease": ease_of(ITEMS)}).rank(
        ["teapot"], task=Task.SEARCH, candidates=["mug", "cup", "tray"], relevance=[2, 1.98, 1.96]
    )

    assert found.rows.tolist() == [3, 2, 1]
    z = 1.5**0.5
    assert found.scores.tolist() == pytest.approx(
        [0.98 + TASTE * logistic(z), 0.99 + TASTE * 0.5, 1 + TASTE * logistic(-z)]
    )


def test_who_has_no_history_gets_what_is_popular() -> None:
    asked = shop(ITEMS, [SampleEvent("ann", "cup")], others={"ease": ease_of(ITEMS)})

    assert asked.recommend(task=Task.SEARCH, candidates=["mug", "tray", "cup"], relevance=[1, 1, 0.97]) == [
        "cup",
        "mug",
        "tray",
    ]


def test_an_item_that_the_model_does_not_know_stands_at_the_mean() -> None:
    asked = shop([*ITEMS, "new"], others={"ease": ease_of(ITEMS)})

    found = asked.recommend(
        ["teapot"], task=Task.SEARCH, candidates=["new", "mug", "cup", "tray"], relevance=[1, 1, 1, 1]
    )

    assert found == ["tray", "new", "cup", "mug"]


def test_without_taste_the_text_alone_decides() -> None:
    asked = shop(ITEMS, others={"ease": ease_of(ITEMS)}, parameters=SearchParameters(taste=0))

    assert asked.recommend(
        ["teapot"], task=Task.SEARCH, candidates=["mug", "cup", "tray"], relevance=[1, 0.999, 0.998]
    ) == ["mug", "cup", "tray"]


@given(
    relevance=st.lists(st.floats(0.0625, 4), min_size=2, max_size=6),
    bought=st.lists(st.sampled_from("abcdef"), max_size=30),
    taste=st.floats(0, 1),
)
def test_a_clearly_better_match_is_never_lost_to_taste(
    relevance: list[float], bought: list[str], taste: float
) -> None:
    ids = "abcdef"[: len(relevance)]
    events = [SampleEvent(str(user), item) for user, item in enumerate(bought)]
    found = shop("abcdef", events, parameters=SearchParameters(taste=taste)).recommend(
        task=Task.SEARCH, candidates=ids, relevance=relevance
    )

    for place, earlier in enumerate(found):
        for later in found[place + 1 :]:
            behind = relevance[ids.index(later)] - relevance[ids.index(earlier)]
            assert behind <= taste * max(relevance) + 1e-4


def test_the_hybrid_knows_taste_better_than_ease() -> None:
    others: dict[str, Strategy] = {"ease": ease_of(ITEMS), "hybrid": ease_of(ITEMS[::-1])}
    asked = shop(ITEMS, others=others)

    assert asked.recommend(
        ["tray"], task=Task.SEARCH, candidates=["mug", "cup", "teapot"], relevance=[1, 1, 1]
    ) == ["teapot", "mug", "cup"]


def test_one_that_cannot_rank_is_passed_over_unless_it_is_named() -> None:
    viewed = RecentlyViewed(FakeResources(), NoParameters())
    asked = shop(ITEMS, others={"hybrid": viewed, "ease": ease_of(ITEMS)})

    assert asked.recommend(["teapot"], task=Task.SEARCH, candidates=["mug", "cup"], relevance=[1, 1]) == [
        "cup",
        "mug",
    ]


def test_a_strategy_that_a_placement_names_must_exist_and_rank() -> None:
    with pytest.raises(NotFound):
        shop(ITEMS, parameters=SearchParameters(personal="sasrec"))
    viewed = RecentlyViewed(FakeResources(), NoParameters())
    with pytest.raises(FailedPrecondition, match="answers rank"):
        shop(ITEMS, others={"viewed": viewed}, parameters=SearchParameters(personal="viewed"))


def test_the_reasons_are_the_text_and_what_makes_it_to_the_users_taste() -> None:
    asked = shop(ITEMS, others={"ease": ease_of(ITEMS)})

    found = asked.rank(
        ["teapot"], task=Task.SEARCH, candidates=["mug", "cup", "tray"], relevance=[3, 2, 1], explain=True
    )

    assert asked.ids(found.rows) == ["mug", "cup", "tray"]
    kinds = [[reason.kind for reason in reasons] for reasons in found.reasons]
    assert kinds == [["matches_text"], ["matches_text"], ["matches_text", "bought_together"]]
    assert asked.ids(found.reasons[2][1].evidence) == ["teapot"]
