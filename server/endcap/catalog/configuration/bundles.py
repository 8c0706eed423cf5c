"""The bundles of a shop, and the active one of each model."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.revisions import advance_revision, check_etag, lock_revision
from endcap.catalog.database.tables import BUNDLES
from endcap.sdk.errors import AlreadyExists, FailedPrecondition, NotFound


class BundleState(StrEnum):
    """The last change of a bundle."""

    REGISTERED = "registered"

    ACTIVE = "active"
    """Serving: one of each model."""

    RETIRED = "retired"
    """Served before, and kept for a rollback."""

    REFUSED = "refused"
    """Was to be activated, but could not be loaded."""


@dataclass(frozen=True, slots=True)
class RegisteredBundle:
    """A bundle that a shop may serve with."""

    model: str
    version: str

    path: str
    """The folder of the bundle's files, relative to the folder of all bundles."""

    manifest: Mapping[str, Any]
    """The bundle's ``manifest.json``, as JSON values."""

    checksum: str
    """SHA-256 of the manifest's bytes, in hexadecimal."""

    size_bytes: int

    item_count: int
    """The number of items that the model knows."""

    created_time: int
    """Unix milliseconds of its registration."""

    state: BundleState = BundleState.REGISTERED

    refusal: str = ""
    """The error of the failed loading; empty in any other state than ``REFUSED``."""

    activated_time: int | None = None
    """Unix milliseconds of its last activation; None if the bundle was never active."""

    revision: int = 0
    """Revision of the shop at which the bundle last started or stopped serving; 0 if it never served."""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """The bundles of one model in one shop."""

    name: str

    bundles: tuple[RegisteredBundle, ...]
    """The newest version first; at least one."""

    @property
    def active(self) -> RegisteredBundle | None:
        """The bundle that serves; None if no bundle of the model does."""
        return next((bundle for bundle in self.bundles if bundle.state is BundleState.ACTIVE), None)

    @property
    def retired(self) -> list[RegisteredBundle]:
        """The bundles that served before, the last one to stop first: a rollback returns to that bundle."""
        retired = [bundle for bundle in self.bundles if bundle.state is BundleState.RETIRED]
        return sorted(retired, key=attrgetter("revision"), reverse=True)

    def surplus(self, kept: int) -> list[RegisteredBundle]:
        """Return the bundles that may be deleted.

        Args:
            kept: Number of bundles to keep among those that served, the active one included. A bundle that
                was never activated is always kept; a bundle that failed to load is deleted once a newer
                one serves.
        """
        active = self.active
        refused = [
            bundle
            for bundle in self.bundles
            if bundle.state is BundleState.REFUSED and active is not None and bundle.version < active.version
        ]
        return self.retired[max(kept - 1, 0) :] + refused

    @property
    def etag(self) -> str:
        """Identifies the stored state."""
        states = "\n".join(f"{bundle.version} {bundle.state} {bundle.revision}" for bundle in self.bundles)
        return hashlib.sha256(states.encode()).hexdigest()[:16]


async def register_bundle(*, connection: AsyncConnection, shop: str, bundle: RegisteredBundle) -> None:
    """Add a bundle to a shop. It does not serve yet, so the shop's revision stays.

    Raises:
        AlreadyExists: The shop has that version of the model already.
        NotFound: The shop does not exist.
    """
    await lock_revision(connection=connection, shop=shop)
    values = {**asdict(bundle), "shop": shop, "state": bundle.state.value, "manifest": dict(bundle.manifest)}
    try:
        await connection.execute(insert(BUNDLES).values(values))
    except IntegrityError:
        raise AlreadyExists(
            f"version {bundle.version!r} of the model {bundle.model!r} is registered already: activate it"
        ) from None


async def activate_bundle(
    *, connection: AsyncConnection, shop: str, model: str, version: str, now: int, etag: str = ""
) -> RegisteredBundle:
    """Activate a bundle in place of the active bundle of its model.

    Args:
        connection: A connection that writes.
        shop: The shop's id.
        model: The model's name.
        version: The version to activate.
        now: Unix milliseconds.
        etag: The etag of the model as last read; empty to overwrite any state.

    Raises:
        NotFound: The shop has no such bundle.
        Conflict: The model was changed since ``etag`` was read.
    """
    revision = await advance_revision(connection=connection, shop=shop)
    await get_bundle(connection=connection, shop=shop, model=model, version=version)
    check_etag((await get_model(connection=connection, shop=shop, model=model)).etag, etag)
    bundles_of_model = update(BUNDLES).where(BUNDLES.c.shop == shop, BUNDLES.c.model == model)
    await connection.execute(
        bundles_of_model.where(
            BUNDLES.c.state == BundleState.ACTIVE.value, BUNDLES.c.version != version
        ).values(state=BundleState.RETIRED.value, revision=revision)
    )
    await connection.execute(
        bundles_of_model.where(BUNDLES.c.version == version).values(
            state=BundleState.ACTIVE.value, refusal="", activated_time=now, revision=revision
        )
    )
    return await get_bundle(connection=connection, shop=shop, model=model, version=version)


async def refuse_bundle(
    *, connection: AsyncConnection, shop: str, model: str, version: str, refusal: str
) -> None:
    """Record that a bundle could not be loaded.

    An active bundle stays active because it may serve in another process.
    """
    await connection.execute(
        update(BUNDLES)
        .where(
            BUNDLES.c.shop == shop,
            BUNDLES.c.model == model,
            BUNDLES.c.version == version,
            BUNDLES.c.state != BundleState.ACTIVE.value,
        )
        .values(state=BundleState.REFUSED.value, refusal=refusal)
    )


async def delete_bundle(*, connection: AsyncConnection, shop: str, model: str, version: str) -> None:
    """Delete the entry of a bundle; the caller deletes its files.

    Raises:
        NotFound: The shop has no such bundle.
        FailedPrecondition: The bundle is active.
    """
    await lock_revision(connection=connection, shop=shop)
    bundle = await get_bundle(connection=connection, shop=shop, model=model, version=version)
    if bundle.state is BundleState.ACTIVE:
        raise FailedPrecondition(
            f"version {version!r} of the model {model!r} is active: activate another one first"
        )
    await connection.execute(
        delete(BUNDLES).where(BUNDLES.c.shop == shop, BUNDLES.c.model == model, BUNDLES.c.version == version)
    )


async def get_bundle(*, connection: AsyncConnection, shop: str, model: str, version: str) -> RegisteredBundle:
    """Return one bundle.

    Raises:
        NotFound: The shop has no such bundle.
    """
    query = select(BUNDLES).where(
        BUNDLES.c.shop == shop, BUNDLES.c.model == model, BUNDLES.c.version == version
    )
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"version {version!r} of the model {model!r} does not exist: register it first")
    return _bundle(row)


async def list_bundles(*, connection: AsyncConnection, shop: str) -> list[RegisteredBundle]:
    """Return the bundles of a shop in the order of the models, the newest version of each first."""
    query = select(BUNDLES).where(BUNDLES.c.shop == shop)
    query = query.order_by(BUNDLES.c.model, BUNDLES.c.version.desc())
    return [_bundle(row) for row in (await connection.execute(query)).mappings()]


async def swap_revisions(*, connection: AsyncConnection, shop: str, revision: int) -> set[int]:
    """Return the revisions after ``revision`` at which a bundle started or stopped serving.

    A bundle records its last such revision only, so earlier ones may be missing.
    """
    query = select(BUNDLES.c.revision).where(
        BUNDLES.c.shop == shop,
        BUNDLES.c.revision > revision,
        BUNDLES.c.state.in_((BundleState.ACTIVE.value, BundleState.RETIRED.value)),
    )
    return set((await connection.execute(query)).scalars())


async def get_model(*, connection: AsyncConnection, shop: str, model: str) -> RegisteredModel:
    """Return one model with its bundles.

    Raises:
        NotFound: The shop has no bundle of the model.
    """
    query = (
        select(BUNDLES)
        .where(BUNDLES.c.shop == shop, BUNDLES.c.model == model)
        .order_by(BUNDLES.c.version.desc())
    )
    bundles = tuple(_bundle(row) for row in (await connection.execute(query)).mappings())
    if not bundles:
        raise NotFound(f"model {model!r} does not exist: register a bundle of it first")
    return RegisteredModel(model, bundles)


async def list_models(*, connection: AsyncConnection, shop: str) -> list[RegisteredModel]:
    """Return the models of a shop by name."""
    bundles = await list_bundles(connection=connection, shop=shop)
    return [RegisteredModel(name, tuple(group)) for name, group in groupby(bundles, attrgetter("model"))]


def _bundle(row: RowMapping) -> RegisteredBundle:
    return RegisteredBundle(
        model=row["model"],
        version=row["version"],
        path=row["path"],
        state=BundleState(row["state"]),
        refusal=row["refusal"],
        manifest=row["manifest"],
        checksum=row["checksum"],
        size_bytes=row["size_bytes"],
        item_count=row["item_count"],
        created_time=row["created_time"],
        activated_time=row["activated_time"],
        revision=row["revision"],
    )
