"""The gate between a trained bundle and the shop: it serves only if it measures no worse."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from endcap.sdk.bundle import Bundle
from endcap.sdk.errors import BundleRefused
from endcap.server.model_registry import ModelRegistry


@dataclass(frozen=True, slots=True)
class Gate:
    """What a candidate must reach."""

    metric: str
    """The metric that decides, as the bundles' manifests name it; more is better."""

    margin: float
    """The share of the active bundle's metric that a candidate may lose, for no two months are alike."""

    def judge(self, candidate: Mapping[str, float], active: Mapping[str, float] | None) -> "Verdict":
        """Compare what was measured of two bundles, each on the last days before it was trained.

        Args:
            candidate: The metrics of the bundle that is to serve.
            active: Those of the one that serves; None where none does.
        """
        if active is None:
            return Verdict(True, "no bundle of this model serves yet")
        value = candidate.get(self.metric, math.nan)
        if not math.isfinite(value):
            return Verdict(False, f"its {self.metric} was not measured")
        before = active.get(self.metric, math.nan)
        if not math.isfinite(before):
            return Verdict(True, f"{self.metric} {value:.4f}, and that of the active one was not measured")
        wanted = before * (1 - self.margin)
        return Verdict(
            value >= wanted,
            f"{self.metric} {value:.4f}, the active one's {before:.4f}, at least {wanted:.4f} wanted",
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate serves now."""

    promoted: bool

    reason: str
    """Why, in words that follow a colon."""


DEFAULT_GATE = Gate("recall@20", 0.05)
"""What is asked of a candidate unless the operator says otherwise."""


async def promote(registry: ModelRegistry, shop: str, source: Path, gate: Gate) -> Verdict:
    """Register a bundle and serve with it, if it is whole and the gate holds.

    Args:
        registry: Keeps the shop's bundles.
        shop: The shop's id.
        source: The bundle's folder.
        gate: What it must reach.

    Raises:
        AlreadyExists: The shop has it; activate it by its version.
        NotFound: There is no such shop.
        Exhausted: The disk is full.
    """
    try:
        manifest = (await asyncio.to_thread(Bundle.open, source)).manifest
        active = await registry.active(shop, manifest.model)
        verdict = gate.judge(manifest.metrics, active.manifest["metrics"] if active else None)
        if verdict.promoted:
            await registry.register(shop, source)
            await registry.activate(shop, manifest.model, manifest.version)
            await registry.sweep(shop)
    except BundleRefused as refused:
        return Verdict(False, str(refused))
    return verdict
