"""The models in memory."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from endcap.catalog.bundles import RegisteredBundle
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

    def __init__(self, host: PluginHost) -> None:
        self._host = host
        self._models: WeakValueDictionary[str, OnnxModel] = WeakValueDictionary()

    async def load(self, bundle: RegisteredBundle) -> OnnxModel:
        """Return the model of a bundle, verified, checked with its golden queries, and warm.

        Raises:
            BundleRefused: Its files are gone, or are not what was registered, or it answers wrongly.
        """
        model = self._models.get(bundle.path)
        if model is None:
            model = await asyncio.to_thread(self._load, bundle)
            self._models[bundle.path] = model
        return model

    async def generation(self, active: Sequence[RegisteredBundle], before: Generation) -> Generation:
        """Return the generation of the active bundles.

        In place of a bundle that is refused, the model of its name that served before goes on serving.

        Args:
            active: One of each model.
            before: What the shop serves with so far.
        """
        models: list[Model] = []
        for bundle in active:
            try:
                models.append(await self.load(bundle))
            except EndcapError as error:
                kept = before.models.get(bundle.model)
                _log.error(
                    "bundle_refused",
                    bundle=bundle.path,
                    reason=str(error),
                    serving=kept.version if kept else None,
                )
                models += [kept] if kept else []
        return Generation.of(models)

    def _load(self, bundle: RegisteredBundle) -> OnnxModel:
        folder = Path(bundle.path)
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
