"""Reports as JSON, as a table and as a chart."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from endcap.evaluation import Measure, Report, SliceReport, draw, table


def report(strategy: str, recall: float, *, scored: bool = True) -> Report:
    metrics = {
        "recall@20": Measure(recall, recall - 0.01, recall + 0.01),
        "ndcg@20": Measure(0.1, 0.05, 0.15),
    }
    # The ndcg of cases differs widely, so that the small difference of its means tells nothing.
    values = np.tile([recall, 0.1], (1365, 1))
    values[:, 1] += np.linspace(-9.9, 10.1, 1365) * recall
    return Report(
        strategy=strategy,
        data="shop",
        protocol="by time",
        scored=scored,
        items=3939,
        events=331726,
        slices={
            "all": SliceReport(1365, metrics, values),
            "cold_users": SliceReport(342, metrics, values[:342]),
        },
        beyond={"coverage@20": 0.25},
        query_milliseconds=1.5,
        query_milliseconds_p95=2.25,
        training_seconds=3.0,
    )


def test_a_report_is_json_with_its_measures_by_name() -> None:
    values = json.loads(json.dumps(report("ease", 0.1055).to_dict()))

    assert values["strategy"] == "ease"
    assert values["slices"]["all"]["cases"] == 1365
    assert values["slices"]["all"]["metrics"]["ndcg@20"] == {"value": 0.1, "low": 0.05, "high": 0.15}


def test_a_table_shows_strategies_side_by_side() -> None:
    text = table([report("popular", 0.071), report("ease", 0.1055)], metrics=("recall@20", "ndcg@20"))

    assert text.splitlines() == [
        "shop: by time; 331,726 training events, 3,939 items ranked; means with 95 % intervals",
        "",
        "all (1,365 cases)                recall@20                  ndcg@20",
        "popular            0.0710 [0.0610, 0.0810]  0.1000 [0.0500, 0.1500]",
        "ease               0.1055 [0.0955, 0.1155]  0.1000 [0.0500, 0.1500]",
        "",
        "less ease, the best                           recall@20                             ndcg@20",
        "popular              -0.0345 [-0.0345, -0.0345]          -0.0034 [-0.0143, +0.0061] no gain",
        "no gain: the difference is less than two standard errors",
        "",
        "cold_users (342 cases)                recall@20                  ndcg@20",
        "popular                 0.0710 [0.0610, 0.0810]  0.1000 [0.0500, 0.1500]",
        "ease                    0.1055 [0.0955, 0.1155]  0.1000 [0.0500, 0.1500]",
        "",
        "beyond accuracy  coverage@20  ms/query   p95  training s  peak MiB",
        "popular                0.250      1.50  2.25         3.0         -",
        "ease                   0.250      1.50  2.25         3.0         -",
    ]


def test_a_table_says_which_strategy_was_tested_by_its_lists() -> None:
    text = table([report("random", 0.01, scored=False)], metrics=("recall@20",))

    assert "random *" in text
    assert text.endswith("it has no scores, or lists other items than those it scores best")


@pytest.mark.parametrize("strategies", [("ease",), ("popular", "item_knn", "ease")])
def test_a_chart_is_a_png(tmp_path: Path, strategies: tuple[str, ...]) -> None:
    path = tmp_path / "chart.png"

    draw([report(name, 0.1) for name in strategies], path)

    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_colours_of_a_chart_are_those_of_okabe_and_ito(tmp_path: Path) -> None:
    draw([report("popular", 0.1), report("ease", 0.2)], tmp_path / "chart.png", metrics=("recall@20",))

    pixels = image.imread(tmp_path / "chart.png")[:, :, :3].reshape(-1, 3)
    found = {bytes(pixel) for pixel in np.unique(np.round(pixels * 255).astype(np.uint8), axis=0)}
    assert {bytes.fromhex("0072B2"), bytes.fromhex("E69F00")} <= found


def test_an_interval_that_misses_its_mean_by_rounding_can_be_drawn(tmp_path: Path) -> None:
    measure = Measure(0.1, 0.1 + 1e-17, 0.1 - 1e-17)
    exact = SliceReport(10, {"recall@20": measure}, np.full((10, 1), 0.1))
    reports = [dataclasses.replace(report("ease", 0.1), slices={"all": exact})]

    draw(reports, tmp_path / "chart.png", metrics=("recall@20",))

    assert (tmp_path / "chart.png").is_file()
