"""The models in memory."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from endcap.catalog.configuration.bundles import RegisteredBundle, RegisteredModel
from endcap.runtime.instances import Generation
from endcap.runtime.loading import prepare_model
from endcap.runtime.onnx_model import OnnxModel
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Model
from endcap.sdk.bundle import Bundle
from endcap.sdk.errors import BundleRefused, EndcapError


_log = structlog.get_logger(__name__)


class LoadedModels:
    """The models of registered bundles, each loaded once and let go when nobody holds it any more."""

    def __init__(self, host: PluginHost, root: Path) -> None:
        """Load nothing yet.

        Args:
            host: Offers the strategies that run the models.
            root: Where registered bundles are kept.
        """
        self._host = host
        self.root = root
        """The folder of registered bundles."""
        self._models: WeakValueDictionary[str, OnnxModel] = WeakValueDictionary()

    def folder(self, bundle: RegisteredBundle) -> Path:
        """Return the folder of a bundle's files."""
        return self.root / bundle.path

    async def load(self, bundle: RegisteredBundle) -> OnnxModel:
        """Return the model of a bundle, verified, checked with its golden queries, and warm.

        Raises:
            BundleRefused: The files are gone or differ from those registered, or a golden query fails.
        """
        model = self._models.get(bundle.path)
        if model is None:
            model = await asyncio.to_thread(self._load, bundle)
            self._models[bundle.path] = model
        return model

    async def generation(self, registered: Iterable[RegisteredModel], before: Generation) -> Generation:
        """Return the generation of the active bundles.

        In place of a bundle that is rejected, the model of its name that served before goes on serving; in
        a process that has just started, the one that a rollback would go to.

        Args:
            registered: The shop's models.
            before: The generation that the shop serves with so far.
        """
        models: list[Model] = []
        unloadable: list[str] = []
        for each in registered:
            if each.active is not None:
                model = (
                    await self._try(each.active)
                    or before.models.get(each.name)
                    or await self._try_in_turn(each.retired)
                )
                if model:
                    models.append(model)
                else:
                    unloadable.append(each.name)
        return Generation.of(models, unloadable=unloadable)

    async def _try_in_turn(self, bundles: Sequence[RegisteredBundle]) -> Model | None:
        for bundle in bundles:
            if model := await self._try(bundle):
                return model
        return None

    async def _try(self, bundle: RegisteredBundle) -> Model | None:
        try:
            return await self.load(bundle)
        except EndcapError as error:
            _log.error("bundle_refused", bundle=bundle.path, state=bundle.state, reason=str(error))
            return None

    def _load(self, bundle: RegisteredBundle) -> OnnxModel:
        folder = self.folder(bundle)
        if not folder.is_dir():
            raise BundleRefused(
                f"the files of version {bundle.version!r} of the model {bundle.model!r} are gone:"
                " activate another version, or delete this one and register it again"
            )
        opened = Bundle.open(folder)
        if opened.checksum != bundle.checksum:
            raise BundleRefused(
                "the bundle is not the one that was registered: delete it and register it again"
            )
        return prepare_model(opened, self._host)
