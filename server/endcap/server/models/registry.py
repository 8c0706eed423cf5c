"""The life of a bundle in a shop: registered, active, retired, gone."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.bundles import (
    RegisteredBundle,
    RegisteredModel,
    activate_bundle,
    delete_bundle,
    get_bundle,
    get_model,
    list_bundles,
    list_models,
    refuse_bundle,
    register_bundle,
)
from endcap.catalog.configuration.shops import get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import check_etag, lock_revision
from endcap.catalog.items.items import get_items
from endcap.runtime.loading import prepare_model
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Model, Vocabulary
from endcap.sdk.bundle import Bundle
from endcap.sdk.errors import BundleRefused, EndcapError, FailedPrecondition, InvalidInput, NotFound
from endcap.server.models.files import BundleFiles, bundle_path
from endcap.server.models.loaded import LoadedModels


_LOOKED_UP_AT_ONCE = 500

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Activation:
    """A bundle that is active now, or would be."""

    model: RegisteredModel
    """Its model, as it is now."""

    revision: int
    """Revision of the shop that holds the change; 0 where it was only checked."""

    loaded: Model
    """Held so that whoever switches to it need not load it again."""


class ModelRegistry:
    """Brings bundles into service and takes them out, for the server and for commands alike.

    It changes files and the database; ``Shops`` changes what a process serves with.
    """

    def __init__(
        self,
        database: Database,
        host: PluginHost,
        models: LoadedModels,
        *,
        store: Path,
        kept: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set it up.

        Args:
            database: Where bundles are registered.
            host: Offers the strategies that run the models.
            models: Loads registered bundles from where they are kept.
            store: Where trainers put bundles.
            kept: How many bundles of each model that served are kept, the active one included.
            clock: Seconds since 1970.
        """
        self._database = database
        self._host = host
        self._models = models
        self._store = store
        self._files = BundleFiles(models.root)
        self._kept = kept
        self._clock = clock

    def find(self, path: str) -> Path:
        """Return a folder of the bundle store.

        Args:
            path: Relative to the store.

        Raises:
            NotFound: The folder does not exist.
            InvalidInput: The path leads out of the store.
        """
        store = self._store.resolve()
        folder = (store / path).resolve()
        if not folder.is_relative_to(store):
            raise InvalidInput(
                "path must not lead out of the bundle store: name a folder in it", field="path"
            )
        if not folder.is_dir():
            raise NotFound(f"bundle {path!r} does not exist in the bundle store: copy it there first")
        return folder

    async def active(self, shop: str, model: str) -> RegisteredBundle | None:
        """Return the bundle of a model that is active; None if no bundle is active."""
        async with self._database.read() as connection:
            try:
                return (await get_model(connection=connection, shop=shop, model=model)).active
            except NotFound:
                return None

    def folder(self, bundle: RegisteredBundle) -> Path:
        """Return the folder of a registered bundle's files."""
        return self._models.folder(bundle)

    async def register(self, shop: str, source: Path, *, validate_only: bool = False) -> RegisteredBundle:
        """Check a bundle whole, copy it to where nobody else writes, and add it to a shop.

        Args:
            shop: The shop's id.
            source: The bundle's folder, which is left as it is.
            validate_only: Check it, and change nothing.

        Raises:
            BundleRefused: The bundle is damaged, altered, made for another release or another catalog, or a
                golden query fails.
            AlreadyExists: The bundle is registered in the shop already.
            NotFound: The shop does not exist.
            Exhausted: The disk is full.
        """
        staged = await asyncio.to_thread(self._files.stage, source)
        try:
            await asyncio.to_thread(prepare_model, staged, self._host)
            await self._require_known_items(shop, staged.vocabulary)
            bundle = self._describe(shop, staged)
            if not validate_only:
                async with self._database.write() as connection:
                    await register_bundle(connection=connection, shop=shop, bundle=bundle)
                    await asyncio.to_thread(self._files.keep, staged, bundle.path)
        finally:
            await asyncio.to_thread(self._files.drop, staged)
        return bundle

    async def check(self, shop: str, model: str, version: str, *, etag: str = "") -> Activation:
        """Load a registered bundle beside the active one, check it and warm it up, and change nothing.

        Raises:
            NotFound: The shop has no such bundle.
            Conflict: The model was changed since ``etag`` was read.
            BundleRefused: The bundle cannot be loaded, or a golden query fails.
        """
        registered, bundle = await self._read(shop, model, version, etag)
        return Activation(registered, 0, await self._models.load(bundle))

    async def activate(self, shop: str, model: str, version: str, *, etag: str = "") -> Activation:
        """Load a registered bundle, check it and warm it up, and make it the active one of its model.

        The bundles that served longest ago are deleted in the same transaction, and their files after it.

        Raises:
            NotFound: The shop has no such bundle.
            Conflict: The model was changed since ``etag`` was read.
            BundleRefused: The bundle cannot be loaded, or a golden query fails; the active bundle stays.
        """
        _, bundle = await self._read(shop, model, version, etag)
        try:
            loaded = await self._models.load(bundle)
        except BundleRefused as refused:
            async with self._database.write() as connection:
                await refuse_bundle(
                    connection=connection, shop=shop, model=model, version=version, refusal=str(refused)
                )
            raise
        async with self._database.write() as connection:
            active = await activate_bundle(
                connection=connection, shop=shop, model=model, version=version, now=self._now(), etag=etag
            )
            await self._forget_surplus(connection, shop, model, self._kept)
            registered = await get_model(connection=connection, shop=shop, model=model)
        await self._sweep(shop)
        return Activation(registered, active.revision, loaded)

    async def roll_back(self, shop: str, model: str, *, etag: str = "") -> Activation:
        """Activate the bundle of a model that was active before; a second time undoes the first.

        Raises:
            NotFound: The shop has no such model.
            Conflict: The model was changed since ``etag`` was read, or meanwhile.
            FailedPrecondition: No other bundle was active before, or it cannot be loaded any more.
        """
        async with self._database.read() as connection:
            registered = await get_model(connection=connection, shop=shop, model=model)
        check_etag(registered.etag, etag)
        if not registered.retired:
            raise FailedPrecondition(
                f"no other bundle of the model {model!r} served before: activate one by its version"
            )
        return await self.activate(shop, model, registered.retired[0].version, etag=registered.etag)

    async def delete(self, shop: str, model: str, version: str, *, allow_missing: bool = False) -> None:
        """Delete a bundle and its files.

        Args:
            shop: The shop's id.
            model: The model's name.
            version: Which of its bundles.
            allow_missing: Whether a bundle that does not exist counts as deleted.

        Raises:
            NotFound: The shop has no such bundle.
            FailedPrecondition: The bundle is active.
        """
        try:
            async with self._database.write() as connection:
                await delete_bundle(connection=connection, shop=shop, model=model, version=version)
        except NotFound:
            if not allow_missing:
                raise
        await self.collect_garbage(shop)

    async def prune(self, shop: str, *, kept: int | None = None) -> list[RegisteredBundle]:
        """Delete the bundles of a shop that need not be kept any longer, and files of no bundle.

        Args:
            shop: The shop's id.
            kept: How many bundles of each model that served to keep; None for the registry's own number.

        Returns:
            The deleted bundles.
        """
        kept = self._kept if kept is None else kept
        async with self._database.write() as connection:
            deleted = [
                bundle
                for model in await list_models(connection=connection, shop=shop)
                for bundle in await self._forget_surplus(connection, shop, model.name, kept)
            ]
        await self.collect_garbage(shop)
        return deleted

    async def _sweep(self, shop: str) -> None:
        """Collect garbage after an activation; a failure does not undo the activation."""
        try:
            await self.collect_garbage(shop)
        except (EndcapError, OSError) as error:
            _log.warning("garbage_left", shop=shop, reason=str(error))

    async def collect_garbage(self, shop: str) -> None:
        """Delete the files in the shop's folder that belong to no bundle."""
        async with self._database.write() as connection:
            await lock_revision(connection=connection, shop=shop)
            bundles = await list_bundles(connection=connection, shop=shop)
            registered = {(bundle.model, bundle.version) for bundle in bundles}
            await asyncio.to_thread(self._files.discard_all_but, shop, registered)
        await asyncio.to_thread(self._files.sweep)

    async def _forget_surplus(
        self, connection: AsyncConnection, shop: str, model: str, kept: int
    ) -> list[RegisteredBundle]:
        surplus = (await get_model(connection=connection, shop=shop, model=model)).surplus(kept)
        for bundle in surplus:
            await delete_bundle(connection=connection, shop=shop, model=model, version=bundle.version)
        return surplus

    async def _read(
        self, shop: str, model: str, version: str, etag: str
    ) -> tuple[RegisteredModel, RegisteredBundle]:
        async with self._database.read() as connection:
            bundle = await get_bundle(connection=connection, shop=shop, model=model, version=version)
            registered = await get_model(connection=connection, shop=shop, model=model)
        check_etag(registered.etag, etag)
        return registered, bundle

    async def _require_known_items(self, shop: str, vocabulary: Vocabulary) -> None:
        async with self._database.read() as connection:
            await get_shop(connection=connection, shop=shop)
            for start in range(0, len(vocabulary), _LOOKED_UP_AT_ONCE):
                item_ids = vocabulary.ids[start : start + _LOOKED_UP_AT_ONCE]
                if await get_items(connection=connection, shop=shop, item_ids=item_ids):
                    return
        raise BundleRefused(
            f"the bundle has no item of the shop {shop!r}: register it in the shop it was trained for"
        )

    def _describe(self, shop: str, bundle: Bundle) -> RegisteredBundle:
        manifest = bundle.manifest
        return RegisteredBundle(
            model=manifest.model,
            version=manifest.version,
            path=bundle_path(shop, manifest.model, manifest.version),
            manifest=asdict(manifest),
            checksum=bundle.checksum,
            size_bytes=bundle.size,
            item_count=len(bundle.vocabulary),
            created_time=self._now(),
        )

    def _now(self) -> int:
        return int(self._clock() * 1000)
