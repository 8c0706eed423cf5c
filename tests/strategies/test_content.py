from dataclasses import replace

import numpy as np
import pytest

from endcap.sdk import History, NoParameters, Task, Tensors, Vocabulary
from endcap.sdk.errors import ModelMissing
from endcap.sdk.features import DAY
from endcap.sdk.testing import (
    CHECKERBOARD_IDS,
    NOW,
    FakeModel,
    FakeResources,
    SampleItem,
    SampleShop,
    StrategyContract,
    catalog,
)
from endcap.sdk.view_updates import update_view
from endcap.strategies.content import Content


TERMS = ["mug", "red", "tea", "壶", "茶"]
OTHER = len(TERMS)
"""The axis of all words that the model does not know."""

BOUGHT_WITH = np.eye(OTHER + 1, dtype=np.float32)
BOUGHT_WITH[[0, 2]] = [[0.8, 0, 0.6, 0, 0, 0], [0.6, 0, 0.8, 0, 0, 0]]
"""Who buys mugs buys tea: their collaborative parts have the cosine .8 · .6 + .6 · .8 = .96."""


def run(inputs: Tensors) -> Tensors:
    """Give every known word an axis of text, and prices below and from 10 an axis each."""
    words = np.zeros((len(inputs["prices"]), OTHER + 1), np.float32)
    np.add.at(words.T, np.minimum(inputs["terms"], OTHER), inputs["counts"].T)
    price = np.stack([inputs["prices"] < 10, inputs["prices"] >= 10], axis=1).astype(np.float32)
    return {"vectors": np.concatenate([unit(words), unit(words @ BOUGHT_WITH), price], axis=1)}


def unit(vectors: np.typing.NDArray[np.float32]) -> np.typing.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=scaled, where=lengths > 0)
    return scaled


STATE = {"terms": TERMS, "widths": [OTHER + 1, OTHER + 1, 2]}
SHELF = [
    SampleItem("red mug", title="Red mug", price=5),
    SampleItem("dear mug", title="Mug", price=50),
    SampleItem("cheap mug", title="Mug", price=4),
    SampleItem("green tea", title="Tea", price=5),
    SampleItem("nameless", price=5),
]


def evidence(shop: SampleShop, **facts: object) -> list[list[str]]:
    """Return the items that speak for each recommendation."""
    ranking = shop.rank(explain=True, **facts)  # type: ignore[arg-type]
    return [shop.ids(reason.evidence) for (reason,) in ranking.reasons]


class TestContent(StrategyContract):
    strategy = Content
    models = (FakeModel("content", Vocabulary(CHECKERBOARD_IDS), run, STATE),)

    def test_similar_says_the_same_and_of_those_costs_about_as_much(self) -> None:
        """Text √.5 for a mug, and .3 more for a price like its own; tea shares nothing but the price."""
        shop = self.shop(SHELF)

        ranking = shop.rank(task=Task.SIMILAR, items=["red mug"])

        assert shop.ids(ranking.rows) == ["cheap mug", "dear mug", "green tea"]
        np.testing.assert_allclose(ranking.scores, [0.5**0.5 + 0.3, 0.5**0.5, 0.3], rtol=1e-6)

    def test_a_user_gets_what_people_buy_with_such_words(self) -> None:
        shop = self.shop([*SHELF, SampleItem("red pan", title="Red pan", price=5)])

        assert shop.recommend(["dear mug"], exclude=["dear mug", "cheap mug"])[0] == "green tea"

    def test_related_goes_by_the_collaborative_part_of_the_whole_cart(self) -> None:
        """The cart's collaborative part is that of mug and tea, (.7, .7) when scaled: near to both."""
        shop = self.shop([*SHELF, SampleItem("tea mug", title="Tea, mug", price=5)])

        ranking = shop.rank(task=Task.RELATED, items=["dear mug", "green tea"], n=2)

        assert shop.ids(ranking.rows) == ["tea mug", "cheap mug"]
        np.testing.assert_allclose(ranking.scores, [1, 1.4 * 0.5**0.5], rtol=1e-6)

    def test_the_last_moment_counts_most_whatever_the_basket(self) -> None:
        """Three red things lately weigh 3, one tea before them .6."""
        shop = self.shop(
            [
                *(SampleItem(name, title="Red") for name in "abcd"),
                SampleItem("e", title="Tea"),
                SampleItem("f", title="Tea"),
            ]
        )
        history = History(
            shop.view.vocabulary.known(["e", "a", "b", "c"]),
            np.full(4, "purchase"),
            NOW - np.array([9, 1, 1, 1]) * DAY,
        )

        query = replace(shop.query(exclude=["a", "b", "c", "e"]), history=history)
        (ranking,) = shop.strategy.recommend([query], shop.view)

        assert shop.ids(ranking.rows) == ["d", "f"]
        assert ranking.scores[0] / ranking.scores[1] == pytest.approx(3 / 0.6)

    def test_a_search_goes_by_the_text_among_what_matches(self) -> None:
        shop = self.shop(SHELF)

        ranking = shop.rank(
            task=Task.SEARCH,
            text="red mug",
            candidates=["green tea", "dear mug", "red mug"],
            relevance=[1, 1, 1],
            explain=True,
        )

        assert shop.ids(ranking.rows) == ["red mug", "dear mug", "green tea"]
        np.testing.assert_allclose(ranking.scores, [1, 0.5**0.5, 0], atol=1e-6)
        assert [reason.kind for (reason,) in ranking.reasons] == ["matches_text"] * 3

    def test_chinese_titles_are_found_by_their_characters(self) -> None:
        shop = self.shop(
            [
                SampleItem("cup", title="红杯"),
                SampleItem("pot", title="茶壶"),
                SampleItem("tea", title="绿茶"),
            ]
        )

        assert shop.recommend(task=Task.SIMILAR, items=["pot"])[0] == "tea"
        assert shop.recommend(task=Task.SEARCH, text="茶壶", candidates=["tea", "cup", "pot"])[0] == "pot"

    def test_an_item_that_the_bundle_does_not_know_is_recommended(self) -> None:
        shop = self.shop([*SHELF, SampleItem("just in", title="Red mug", price=5)])

        assert "just in" not in self.models[0].vocabulary
        assert shop.recommend(task=Task.SIMILAR, items=["red mug"])[0] == "just in"

    def test_new_words_make_two_new_items_alike(self) -> None:
        shop = self.shop(
            [
                SampleItem("a", title="Paddington"),
                SampleItem("b", title="Mug"),
                SampleItem("c", title="paddington"),
            ]
        )

        assert shop.recommend(task=Task.SIMILAR, items=["a"], n=1) == ["c"]

    def test_an_item_that_says_nothing_has_no_score(self) -> None:
        shop = self.shop(SHELF)

        scores = shop.strategy.score([shop.query(["red mug"])], None, shop.view)  # type: ignore[attr-defined]

        assert np.isnan(scores[0]).tolist() == [False, False, False, False, True]

    @pytest.mark.parametrize(
        "facts", [{}, {"history": ["nameless"]}, {"task": Task.SIMILAR, "items": ["nameless"]}]
    )
    def test_where_nothing_is_known_nothing_is_recommended(self, facts: dict[str, list[str]]) -> None:
        assert self.shop(SHELF).recommend(**facts) == []  # type: ignore[arg-type]

    def test_the_evidence_is_what_adds_most(self) -> None:
        """Both speak for the red mug, the older one less; what is red does not speak for tea."""
        shop = self.shop([*SHELF, SampleItem("red pan", title="Red", price=5)])

        found = evidence(shop, history=["red pan", "dear mug"], exclude=["red pan", "dear mug", "cheap mug"])

        assert found == [["dear mug", "red pan"], ["dear mug"]]

    def test_the_graph_sees_a_catalog_once(self) -> None:
        calls = []

        def counted(inputs: Tensors) -> Tensors:
            calls.append(len(inputs["prices"]))
            return run(inputs)

        model = FakeModel("content", Vocabulary(()), counted, STATE)
        shop = SampleShop(Content(FakeResources([model]), NoParameters()), self.shop(SHELF).view)

        shop.recommend(["red mug"])
        shop.recommend(["green tea"])

        assert calls == [len(SHELF)]

    def test_of_a_view_that_was_updated_the_graph_sees_what_changed(self) -> None:
        """The dear mug becomes tea, and another red mug comes in: red mugs are asked for, then tea."""
        calls = []

        def counted(inputs: Tensors) -> Tensors:
            calls.append(len(inputs["prices"]))
            return run(inputs)

        model = FakeModel("content", Vocabulary(()), counted, STATE)
        shop = SampleShop(Content(FakeResources([model]), NoParameters()), self.shop(SHELF).view)
        shop.recommend(["red mug"])
        changed = catalog(
            [SampleItem("dear mug", title="Tea", price=50), SampleItem("new mug", title="Red mug", price=5)]
        )
        changed = replace(changed, revisions=np.full(2, 1))

        view = update_view(shop.view, changed, np.array([1, len(SHELF)], np.int32), version="2")
        assert view is not None
        updated = SampleShop(shop.strategy, view)

        assert updated.recommend(task=Task.SIMILAR, items=["red mug"], n=2) == ["new mug", "cheap mug"]
        assert updated.recommend(task=Task.SIMILAR, items=["green tea"], n=1) == ["dear mug"]
        assert calls == [len(SHELF), 2]

    def test_of_a_view_with_other_counts_the_vectors_are_those_before(self) -> None:
        model = FakeModel("content", Vocabulary(()), run, STATE)
        shop = SampleShop(Content(FakeResources([model]), NoParameters()), self.shop(SHELF).view)
        shop.recommend(["red mug"])

        counted = replace(shop.view, users_by_age={})
        recounted = SampleShop(shop.strategy, counted)
        recounted.recommend(["red mug"])

        kept = shop.strategy._items  # type: ignore[attr-defined]
        assert kept[counted] is kept[shop.view]


def test_without_a_bundle_there_is_no_content() -> None:
    with pytest.raises(ModelMissing):
        Content(FakeResources(), NoParameters())
