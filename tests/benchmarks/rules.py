"""What rules cost: microseconds to make a page of 20 out of a pool of 200.

    python tests/benchmarks/rules.py

Each line is the best of 50 runs, so that a busy machine shows less. The words of an item are tokenised
when it is first ranked; that first run is told apart.
"""

import time
from collections.abc import Mapping

import numpy as np

from endcap.catalog.configuration.rules import (
    Action,
    BiasRule,
    BiasTarget,
    BoostRule,
    CapRule,
    DiversityMethod,
    DiversityRule,
    FatigueRule,
    PinRule,
    QuotaRule,
    Rule,
)
from endcap.sdk.testing import SampleItem, catalog
from endcap.server.reranking import RerankContext, Rules, ScoredCandidates, compile_rules


POOL, PAGE = 200, 20
ACTIONS: Mapping[str, tuple[Action, ...]] = {
    "no rules": (),
    "boost": (BoostRule('brand = "brand 3"', 0.4),),
    "bias": (BiasRule(BiasTarget.MARGIN, 0.2),),
    "fatigue": (FatigueRule(),),
    "window": (DiversityRule(attribute="brand"),),
    "mmr": (DiversityRule(DiversityMethod.MMR),),
    "dpp": (DiversityRule(DiversityMethod.DPP),),
    "cap": (CapRule("brand", 2),),
    "cap, tags": (CapRule("tags", 5),),
    "cap, stretch": (CapRule("brand", 1, window=4),),
    "quota": (QuotaRule('tags:"new"', 0.2),),
    "pin": (PinRule(2, item_id="item 77"),),
}
TYPICAL = ("boost", "bias", "window", "cap", "quota")


def main() -> None:
    """Print one line a kind of rule, then one for five together and one for all."""
    random = np.random.default_rng(0)
    view = catalog(
        SampleItem(
            f"item {number}",
            title=f"word {number % 17} thing {number % 5} model {number} in colour {number % 7}",
            brand=f"brand {random.integers(40)}",
            tags=("new",) if number % 20 == 19 else ("sale", f"season {number % 4}"),
            price=float(random.integers(1, 90)),
            cost=float(random.integers(1, 9)),
            group_id=f"group {number // 2}" if number % 10 < 4 else "",
        )
        for number in range(2000)
    )
    candidates = ScoredCandidates(
        random.permutation(len(view))[:POOL].astype(np.int32),
        random.random(POOL).astype(np.float32),
        np.zeros(POOL, np.int32),
    )
    exposures = [(0, row) for row, times in ((5, 6), (70, 9)) for _ in range(times)]
    cases = dict(ACTIONS)
    cases[" + ".join(TYPICAL)] = tuple(action for name in TYPICAL for action in ACTIONS[name])
    cases["all of them"] = tuple(action for actions in ACTIONS.values() for action in actions)
    for name, actions in cases.items():
        rules = compile_rules([Rule(f"{action.kind} {n}", action) for n, action in enumerate(actions)])

        masks = {condition.text: condition.mask(view) for condition in rules.conditions}
        context = RerankContext(view, PAGE, True, masks, exposures=exposures)

        first = _microseconds(1, rules, candidates, context)
        best = _microseconds(50, rules, candidates, context)
        print(f"{name:40}{best:8.0f} µs, at first {first:6.0f} µs")


def _microseconds(runs: int, rules: Rules, candidates: ScoredCandidates, context: RerankContext) -> float:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        rules.rerank(candidates, context)
        seconds.append(time.perf_counter() - started)
    return min(seconds) * 1e6


if __name__ == "__main__":
    main()
