"""Trains models again on what the shop knows by now, and promotes those that measure no worse."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from endcap.catalog.database.engine import Database
from endcap.catalog.reports.snapshots import export_snapshot
from endcap.sdk.bundle import copy_bundle
from endcap.sdk.publish import publish
from endcap.sdk.snapshot import SnapshotManifest
from endcap.server.models.files import shop_folder
from endcap.server.models.promotion import Gate, PromotionVerdict, promote
from endcap.server.models.registry import ModelRegistry


_LEARNED_FROM = ("items", "events")


class Train(Protocol):
    """Trains models."""

    async def __call__(self, snapshot: Path, output: Path, against: Sequence[Path]) -> None:
        """Train, and write ``MODEL/VERSION`` folders.

        Args:
            snapshot: The folder of the snapshot to learn from.
            output: The folder for the bundles.
            against: The bundles that serve, to judge on the same days.
        """


class Retraining:
    """Rounds of snapshot, training, gate and promotion for one shop."""

    def __init__(
        self,
        database: Database,
        registry: ModelRegistry,
        train: Train,
        *,
        shop: str,
        models: Sequence[str],
        store: Path,
        gate: Gate,
        kept: int,
    ) -> None:
        """Set it up.

        Args:
            database: Holds the shop.
            registry: Keeps its bundles.
            train: Trains the models.
            shop: The shop's id.
            models: The models' names.
            store: Where the bundles are left, in a folder of the shop's own.
            gate: The bar that a bundle must reach.
            kept: How many bundles of each model stay there, the newest ones.
        """
        self._database = database
        self._registry = registry
        self._train = train
        self._shop = shop
        self._models = models
        self._store = store / shop_folder(shop)
        self._gate = gate
        self._kept = kept
        self._learned: dict[str, str] = {}

    async def round(self) -> AsyncIterator[tuple[Path, PromotionVerdict]]:
        """Train if items or events differ from those of the round before.

        Yields:
            Each new bundle, and whether it serves now.

        Raises:
            EndcapError: The shop, its database or the training failed; the active bundles stay.
        """
        with tempfile.TemporaryDirectory(prefix="endcap-retraining-") as folder:
            snapshot, trained = Path(folder) / "snapshot", Path(folder) / "trained"
            learned = _checksums(await export_snapshot(self._database, self._shop, snapshot))
            if learned == self._learned:
                return
            # Nobody else writes there: every bundle in it was trained on this shop.
            trained.mkdir()
            await self._train(snapshot, trained, await self._serving())
            self._learned = learned
            for bundle in sorted(trained.glob("*/[0-9]*")):
                verdict = await promote(self._registry, self._shop, bundle, self._gate)
                yield await asyncio.to_thread(self._keep, bundle), verdict
        self._prune()

    async def _serving(self) -> list[Path]:
        active = [await self._registry.active(self._shop, model) for model in self._models]
        return [self._registry.folder(bundle) for bundle in active if bundle is not None]

    def _keep(self, bundle: Path) -> Path:
        """Copy a bundle to the store, which may be on another disk."""
        kept = self._store / bundle.parent.name / bundle.name
        with publish(kept) as staging:
            copy_bundle(bundle, staging)
        return kept

    def _prune(self) -> None:
        for model in self._models:
            for bundle in sorted((self._store / model).glob("[0-9]*"))[: -self._kept]:
                shutil.rmtree(bundle)


def _checksums(manifest: SnapshotManifest) -> dict[str, str]:
    """Return the fingerprints of the tables that trainers read; exposures are not among them."""
    return {part: manifest.files[part] for table in _LEARNED_FROM for part in manifest.parts(table)}
