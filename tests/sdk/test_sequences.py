import numpy as np
import pytest

from endcap.sdk import UNKNOWN, Rows, Tensors, Vocabulary
from endcap.sdk.errors import BundleRefused
from endcap.sdk.sequences import SequenceEncoding, SequenceRecommender, encode_sequences
from endcap.sdk.testing import CHECKERBOARD_IDS, FakeModel, StrategyContract


def rows(*numbers: int) -> Rows:
    return np.array(numbers, np.int32)


def test_histories_end_in_the_last_column_and_are_filled_up_in_front() -> None:
    encoded = encode_sequences([rows(3, 1), rows(), rows(2, 0, 4)], 5, SequenceEncoding(length=10))

    assert encoded.tolist() == [[5, 3, 1], [5, 5, 5], [2, 0, 4]]


def test_items_that_the_model_does_not_know_leave_no_gap() -> None:
    encoded = encode_sequences([rows(3, UNKNOWN, 1)], 5, SequenceEncoding(length=10))

    assert encoded.tolist() == [[3, 1]]


def test_the_last_items_are_read_of_a_long_history() -> None:
    encoded = encode_sequences([rows(0, 1, UNKNOWN, 2)], 5, SequenceEncoding(length=2))

    assert encoded.tolist() == [[1, 2]]


def test_histories_without_a_known_item_are_one_column_of_padding() -> None:
    encoded = encode_sequences([rows(), rows(UNKNOWN)], 5, SequenceEncoding(length=2))

    assert encoded.tolist() == [[5], [5]]


def test_an_encoding_survives_the_bundle() -> None:
    encoding = SequenceEncoding(length=7)

    assert SequenceEncoding.from_json(encoding.to_json()) == encoding


def test_a_bundle_of_another_encoding_is_rejected() -> None:
    with pytest.raises(BundleRefused, match="train it again"):
        SequenceEncoding.from_json({"length": 7, "version": 2})


FOLLOWERS = np.array([1, 2, 3, 4, 5, 0])
"""After each item of the checkerboard the next one follows."""


def run(inputs: Tensors) -> Tensors:
    """Give 1 to the follower of the last item, 0.5 to that of the one before it."""
    items = inputs["items"]
    scores = np.zeros((len(items), len(FOLLOWERS)), np.float32)
    for age, gain in ((2, 0.5), (1, 1.0)):
        if items.shape[1] >= age:
            there = np.flatnonzero(items[:, -age] < len(FOLLOWERS))
            scores[there, FOLLOWERS[items[there, -age]]] = gain
    return {"scores": scores}


class NextLetter(SequenceRecommender):
    model_name = "next_letter"


class TestSequenceRecommender(StrategyContract):
    strategy = NextLetter
    models = (
        FakeModel(
            "next_letter", Vocabulary(CHECKERBOARD_IDS), run, {"encoding": SequenceEncoding(2).to_json()}
        ),
    )

    def test_the_order_of_the_history_decides(self) -> None:
        shop = self.shop(CHECKERBOARD_IDS)

        assert shop.recommend(["a", "d"], n=2) == ["e", "b"]
        assert shop.recommend(["d", "a"], n=2) == ["b", "e"]

    def test_a_new_user_gets_nothing_so_that_the_ladder_goes_on(self) -> None:
        assert self.shop(CHECKERBOARD_IDS).recommend() == []

    def test_an_item_that_the_model_does_not_know_has_no_score(self) -> None:
        shop = self.shop([*CHECKERBOARD_IDS, "new"])

        assert "new" not in shop.recommend(["a"], n=7)
