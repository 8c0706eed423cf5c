"""The gate between a trained bundle and the shop: it serves only if it measures no worse."""

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path

from endcap.sdk.bundle import Bundle, BundleManifest
from endcap.sdk.errors import BundleRefused
from endcap.server.models.registry import ModelRegistry


FLOOR = "popular"
"""The baseline of a bundle whose model does not serve yet: a ranking that is the same for everybody."""

_OVERRULE = "'endcap models activate FOLDER' serves with it all the same"


@dataclass(frozen=True, slots=True)
class Gate:
    """The bar that a candidate must reach."""

    metric: str
    """The metric that decides, as the bundles' manifests name it; more is better."""

    margin: float
    """The share of the active bundle's metric that a candidate may lose, for a month holds some chance."""

    def judge(self, candidate: BundleManifest, active: str | None) -> "PromotionVerdict":
        """Compare the metrics of a bundle with those of another on the same days.

        A candidate not measured, or not on the same days, is not promoted; the operator may overrule that.

        Args:
            candidate: The manifest of the bundle that is to serve.
            active: The version that serves; None if no bundle of the model serves.
        """
        value = candidate.metrics.get(self.metric, math.nan)
        if not math.isfinite(value):
            return PromotionVerdict(False, f"its {self.metric} was not measured, and {_OVERRULE}")
        rival = FLOOR if active is None else f"{candidate.model}@{active}"
        figure = candidate.compared.get(rival, {}).get(self.metric, math.nan)
        if not math.isfinite(figure):
            return PromotionVerdict(False, f"{rival} was not measured on the same days, and {_OVERRULE}")
        wanted = figure if active is None else figure * (1 - self.margin)
        said = f"{self.metric} {value:.4f}, on the same days that of {rival} is {figure:.4f}"
        if value <= 0:
            return PromotionVerdict(False, f"{said}; more than nothing is wanted")
        return PromotionVerdict(value >= wanted, f"{said}, at least {wanted:.4f} wanted")


@dataclass(frozen=True, slots=True)
class PromotionVerdict:
    """Whether a candidate serves now."""

    promoted: bool

    reason: str
    """Why, in words that follow a colon."""


DEFAULT_GATE = Gate("recall@20", 0.05)
"""The default bar of a candidate."""


async def promote(registry: ModelRegistry, shop: str, source: Path, gate: Gate) -> PromotionVerdict:
    """Register a bundle and serve with it, if it is whole and the gate holds.

    Args:
        registry: Keeps the shop's bundles.
        shop: The shop's id.
        source: The bundle's folder.
        gate: The bar that the bundle must reach.

    Raises:
        AlreadyExists: The bundle is registered already; activate it by its version.
        NotFound: The shop does not exist.
        Exhausted: The disk is full.
    """
    try:
        manifest = (await asyncio.to_thread(Bundle.open, source)).manifest
        active = await registry.active(shop, manifest.model)
        verdict = gate.judge(manifest, active.version if active else None)
        if verdict.promoted:
            await registry.register(shop, source)
            await registry.activate(shop, manifest.model, manifest.version)
    except BundleRefused as refused:
        return PromotionVerdict(False, str(refused))
    return verdict
