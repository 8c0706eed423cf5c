"""What two strategies cost on 100,000 items, of the processor: one query of ``popular``, 16 users of a model.

Run it with ``python tests/benchmarks/strategies.py``. ``popular`` is measured on a view that it has answered
from before, and its first time beside it. ``matrix_factorization`` is the graph that a trainer exports.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch

from endcap.runtime.onnx_model import OnnxModel
from endcap.sdk import CatalogView, Eligibility, Query, Resources, Task, Tensors, Vocabulary
from endcap.sdk.profiles import PROFILE_INPUTS, PROFILE_OPTION, profile_scores
from endcap.sdk.testing import SampleEvent, catalog
from endcap.strategies.popular import Popular, PopularParameters
from endcap.trainers.export import to_onnx
from endcap.trainers.matrix_factorization import MatrixFactorizationNetwork
from endcap.trainers.trainer import TrainedModel


ITEM_COUNT = 100_000
EVENT_COUNT = 200_000
FACTORS = 64
USERS = 16
HISTORY = 100
REPEATS = 20
TYPES = ("view", "click", "add_to_cart", "purchase")


def main() -> int:
    """Print what each costs."""
    first, again = popular_cost(shop())
    print(f"popular, one query                    {again:8.2f} ms, {first:.2f} ms the first time")
    print(f"matrix_factorization, {USERS} users        {factorization_cost():8.2f} ms")
    return 0


def popular_cost(view: CatalogView) -> tuple[float, float]:
    """Return the milliseconds of a query the first time, and afterwards."""
    strategy = Popular(cast("Resources", None), PopularParameters(window_days=30))
    query = Query(Task.FOR_YOU, 10, view.as_of, Eligibility(view.available))
    first = cost(lambda: strategy.recommend([query], view), 1)
    return first, cost(lambda: strategy.recommend([query], view), REPEATS)


def factorization_cost() -> float:
    """Return the milliseconds in which the graph scores all items for a batch of users."""
    items = torch.randn(ITEM_COUNT, FACTORS, generator=torch.Generator().manual_seed(0))

    trained = TrainedModel(
        module=MatrixFactorizationNetwork(items, regularization=30.0, confidence=5.0).eval(),
        inputs={**PROFILE_INPUTS, "similar": PROFILE_OPTION},
        outputs=profile_scores(ITEM_COUNT),
        item_ids=tuple(str(row) for row in range(ITEM_COUNT)),
        state={"half_life_days": 30.0},
    )
    with tempfile.TemporaryDirectory() as folder:
        model = OnnxModel(
            to_onnx(trained, Path(folder)),
            name="matrix_factorization",
            version="measured",
            vocabulary=Vocabulary(trained.item_ids),
            inputs=trained.inputs,
            outputs=trained.outputs,
            state=trained.state,
            weights_folder=Path(folder),
        )
    generator = np.random.default_rng(0)
    rows = generator.choice(ITEM_COUNT, USERS * HISTORY, replace=False).astype(np.int64)
    weights = np.kron(np.eye(USERS), np.ones(HISTORY)).astype(np.float32)  # each user has items of their own
    inputs: Tensors = {"rows": rows, "weights": weights, "similar": np.zeros(USERS, np.bool_)}
    return cost(lambda: model.run(inputs), REPEATS)


def cost(work: Callable[[], object], repeats: int) -> float:
    """Return the milliseconds of the fastest of some runs on the processor, of all threads together."""
    runs = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        runs.append(time.process_time() - start)
    return min(runs) * 1_000


def shop() -> CatalogView:
    """Build a shop where events of four types fall on all items, the first ones most."""
    generator = random.Random(0)
    return catalog(
        [str(row) for row in range(ITEM_COUNT)],
        [
            SampleEvent(
                f"user-{generator.randrange(20_000)}",
                str(int(ITEM_COUNT * generator.random() ** 3)),
                generator.choice(TYPES),
                days_ago=generator.random() * 200,
            )
            for _ in range(EVENT_COUNT)
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
