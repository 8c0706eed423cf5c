"""Trains models again on what the shop knows by now, and promotes those that measure no worse."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from endcap.catalog.database import Database
from endcap.catalog.snapshots import export_snapshot
from endcap.server.model_registry import ModelRegistry
from endcap.server.promotion import Gate, Verdict, promote


Train: TypeAlias = Callable[[Path], Awaitable[None]]
"""Trains on the snapshot in a folder and writes bundles to the bundle store."""


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
            store: Where the training puts bundles.
            gate: What a bundle must reach.
            kept: How many bundles of each model stay in the store, the newest ones.
        """
        self._database = database
        self._registry = registry
        self._train = train
        self._shop = shop
        self._models = models
        self._store = store
        self._gate = gate
        self._kept = kept
        self._last_snapshot = ""

    async def round(self) -> AsyncIterator[tuple[Path, Verdict]]:
        """Train on what is new since the round before, if anything is.

        Yields:
            Each new bundle, and whether it serves now.

        Raises:
            EndcapError: The shop, its database or the training failed; what serves is as it was.
        """
        before = self._bundles()
        with tempfile.TemporaryDirectory(prefix="endcap-retraining-") as folder:
            snapshot = Path(folder) / "snapshot"
            manifest = await export_snapshot(self._database, self._shop, snapshot)
            if manifest.fingerprint == self._last_snapshot:
                return
            await self._train(snapshot)
            self._last_snapshot = manifest.fingerprint
        for bundle in sorted(self._bundles() - before):
            yield bundle, await promote(self._registry, self._shop, bundle, self._gate)
        self._prune()

    def _bundles(self) -> set[Path]:
        return {path for model in self._models for path in self._versions(model)}

    def _versions(self, model: str) -> list[Path]:
        """Return a model's bundles in the store, the oldest first."""
        return sorted((self._store / model).glob("[0-9]*"))

    def _prune(self) -> None:
        for model in self._models:
            for bundle in self._versions(model)[: -self._kept]:
                shutil.rmtree(bundle)
