"""Models and their bundles."""

import re

from endcap.catalog.configuration.bundles import RegisteredBundle, RegisteredModel
from endcap.catalog.fields.limits import check_id, check_limit
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.fields import write_time
from endcap.v1 import model_pb2


_PATH = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


def read_path(path: str) -> str:
    """Check the path of a folder in the bundle store.

    Raises:
        InvalidInput: The path is empty, too long or absolute, or has an invalid character or a dot segment.
    """
    check_id("path", path)
    if _PATH.fullmatch(path) is None or not {".", ".."}.isdisjoint(path.split("/")):
        raise InvalidInput(
            "path must be that of a folder in the bundle store, such as item_knn/20260102T030405Z",
            field="path",
        )
    return path


def check_model(model: str, version: str | None = None, etag: str = "") -> None:
    """Check the names of a model and a bundle of it, and its etag.

    Raises:
        InvalidInput: A text is missing or too long.
    """
    check_id("model", model)
    if version is not None:
        check_id("version", version)
    check_limit("etag", etag)


def write_model(model: RegisteredModel) -> model_pb2.Model:
    """Write a model with its bundles."""
    return model_pb2.Model(
        name=model.name,
        active_version=model.active.version if model.active else "",
        previous_version=model.retired[0].version if model.retired else "",
        bundles=map(write_bundle, model.bundles),
        etag=model.etag,
    )


def write_bundle(bundle: RegisteredBundle) -> model_pb2.Bundle:
    """Write a bundle."""
    manifest = bundle.manifest
    return model_pb2.Bundle(
        model=bundle.model,
        version=bundle.version,
        state=model_pb2.BundleState.Value(f"BUNDLE_STATE_{bundle.state.name}"),
        refusal=bundle.refusal,
        metrics=manifest["metrics"],
        snapshot=manifest["snapshot"],
        checksum=bundle.checksum,
        size_bytes=bundle.size_bytes,
        item_count=bundle.item_count,
        kind=model_pb2.BUNDLE_KIND_STRATEGY,
        create_time=write_time(manifest["created_time"]),
        activate_time=write_time(bundle.activated_time),
    )
