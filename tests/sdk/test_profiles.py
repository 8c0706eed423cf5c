"""Profiles: worked numbers through a matrix of similarities, and the strategy that the guide shows."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from endcap.sdk import NoParameters, Query, Ranking, Task, Vocabulary
from endcap.sdk.profiles import (
    EVIDENCE_POOL,
    Profile,
    add_evidence,
    evidence_pool,
    explain_profiles,
    score_profiles,
)
from endcap.sdk.query import Eligibility
from endcap.sdk.testing import CHECKERBOARD_IDS, FakeModel, StrategyContract, catalog


GUIDE = Path(__file__).parents[2] / "plugins" / "README.md"
SIMILARITIES = np.array([[0, 3, 1], [3, 0, 2], [1, 2, 0]], np.float32)


def _multiply(similarities: NDArray[np.float32]) -> Any:
    def run(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"scores": inputs["weights"] @ similarities[inputs["rows"]]}

    return run


MODEL = FakeModel("goes_with", Vocabulary(["mug", "tea", "spoon"]), _multiply(SIMILARITIES))
SHOP = catalog(["new", "spoon", "tea", "mug"])
NEW, SPOON, TEA, MUG = range(4)


def _profile(*rows: int) -> Profile:
    return Profile(np.array(rows, np.int32), np.ones(len(rows), np.float32))


def _query(*, explain: bool) -> Query:
    everything = Eligibility(np.ones(len(SHOP), np.bool_))
    return Query(task=Task.SIMILAR, limit=4, time=0, eligible=everything, explain=explain)


def test_a_score_is_the_sum_over_the_profile_in_the_rows_of_the_catalog() -> None:
    scores = score_profiles(MODEL, [_profile(MUG), _profile(MUG, SPOON), _profile(NEW)], None, SHOP)

    nan = np.nan
    expected = [[nan, 1, 3, 0], [nan, 1, 5, 1], [nan, nan, nan, nan]]
    np.testing.assert_array_equal(scores, np.array(expected, np.float32))


def test_only_the_rows_asked_for_are_scored() -> None:
    rows = np.array([TEA, NEW], np.int32)

    np.testing.assert_array_equal(score_profiles(MODEL, [_profile(MUG)], rows, SHOP), [[3, np.nan]])
    assert score_profiles(MODEL, [_profile(NEW)], rows, SHOP).shape == (1, 2)


def test_evidence_is_what_adds_most_strongest_first_and_only_where_reasons_are_wanted() -> None:
    profiles = [_profile(SPOON, MUG)] * 2
    ranking = Ranking(np.array([TEA], np.int32), np.array([5], np.float32))

    wanted, unwanted = explain_profiles(
        MODEL, profiles, [ranking] * 2, [_query(explain=True), _query(explain=False)], SHOP
    )

    ((reason,),) = wanted.reasons
    assert (reason.kind, reason.evidence.tolist()) == ("bought_together", [MUG, SPOON])
    assert unwanted.reasons == ()


def test_a_row_that_nothing_speaks_for_has_no_reason() -> None:
    ranking = Ranking(np.array([TEA, MUG], np.int32), np.array([5, 0], np.float32))

    explained = add_evidence(ranking, "similar_to", np.array([SPOON], np.int32), np.array([[2.0, 0.0]]))

    assert [len(reasons) for reasons in explained.reasons] == [1, 0]


def test_evidence_is_looked_for_among_the_last_items_each_once() -> None:
    pool = evidence_pool(_profile(MUG, *[TEA, SPOON] * (EVIDENCE_POOL // 2)))

    assert pool.rows.tolist() == [SPOON, TEA]
    assert pool.weights.tolist() == [EVIDENCE_POOL / 2] * 2


def _strategy_of_the_guide() -> type:
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if "class GoesWith" in block)
    names: dict[str, Any] = {"__name__": "goes_with"}
    exec(compile(code, str(GUIDE), "exec"), names)  # noqa: S102 - the guide is ours
    found: type = names["GoesWith"]
    return found


COUNT = len(CHECKERBOARD_IDS)


class TestStrategyOfTheGuide(StrategyContract):
    strategy = _strategy_of_the_guide()
    models = (
        FakeModel(
            "goes_with",
            Vocabulary(CHECKERBOARD_IDS),
            _multiply(
                np.arange(len(CHECKERBOARD_IDS) ** 2, dtype=np.float32).reshape(len(CHECKERBOARD_IDS), -1)
            ),
        ),
    )
    parameters = NoParameters()


@pytest.mark.parametrize("explain", [True, False])
def test_nothing_is_explained_where_nothing_was_found(explain: bool) -> None:
    empty = Ranking(np.empty(0, np.int32), np.empty(0, np.float32))

    assert explain_profiles(MODEL, [_profile()], [empty], [_query(explain=explain)], SHOP) == [empty]
