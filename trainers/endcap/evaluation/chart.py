"""Draws reports as a PNG."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from endcap.evaluation.report import Report


COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""The colours of the strategies, which the colour-blind tell apart.

Okabe and Ito, "Color Universal Design" (2008).
"""


def draw(reports: Sequence[Report], path: Path, *, metrics: Sequence[str] = ("recall@20", "ndcg@20")) -> None:
    """Draw bars of each metric by slice and strategy, with their intervals.

    Args:
        reports: One a strategy, all on the same data.
        path: The PNG file; an older one is replaced.
        metrics: One panel each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    slices = list(reports[0].slices)
    figure = Figure(figsize=(2 + 1.6 * len(slices), 3.2 * len(metrics)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    width = 0.8 / len(reports)
    shades = list(itertools.islice(itertools.cycle(COLOURS), len(reports)))
    for panel, metric in zip(panels, metrics, strict=True):
        for index, report in enumerate(reports):
            measures = [report.slices[name].metrics[metric] for name in slices]
            panel.bar(
                [place + (index - (len(reports) - 1) / 2) * width for place in range(len(slices))],
                [measure.value for measure in measures],
                width,
                color=shades[index],
                yerr=[
                    # An interval of equal values may miss their mean by a rounding error.
                    [max(measure.value - measure.low, 0) for measure in measures],
                    [max(measure.high - measure.value, 0) for measure in measures],
                ],
                error_kw={"elinewidth": 1, "ecolor": "#444444", "capsize": 2},
                label=report.strategy if report.scored else f"{report.strategy} (lists)",
            )
        panel.set_ylabel(metric)
        panel.grid(axis="y", alpha=0.3)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    labels = [f"{name.replace('_', ' ')}\n{reports[0].slices[name].cases:,} cases" for name in slices]
    panels[-1].set_xticks(range(len(slices)), labels)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", frameon=False, ncols=min(len(reports), 5))
    figure.suptitle(f"{reports[0].data}: {reports[0].protocol}\nmeans with 95 % intervals", fontsize=10)
    figure.savefig(path, dpi=120)
