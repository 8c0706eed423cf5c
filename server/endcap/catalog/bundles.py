"""Which bundles a shop has, and which one of each model serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.revisions import advance_revision
from endcap.catalog.tables import BUNDLES
from endcap.sdk.errors import AlreadyExists, NotFound


class BundleState(StrEnum):
    """What was done with a bundle last."""

    REGISTERED = "registered"

    ACTIVE = "active"
    """Serving: one of each model."""

    RETIRED = "retired"
    """Served before, and kept so that one can go back to it."""


@dataclass(frozen=True, slots=True)
class RegisteredBundle:
    """A bundle that a shop may serve with."""

    model: str
    version: str

    path: str
    """Where its folder lies."""

    manifest: Mapping[str, Any]
    """Its ``manifest.json``, as JSON values."""

    state: BundleState

    created_time: int
    """Unix milliseconds of its registration."""

    activated_time: int | None
    """Unix milliseconds of its last activation; None if there was none."""


async def register_bundle(
    *,
    connection: AsyncConnection,
    shop: str,
    model: str,
    version: str,
    path: str,
    manifest: Mapping[str, Any],
    now: int,
) -> RegisteredBundle:
    """Add a bundle to a shop; it does not serve yet.

    Raises:
        AlreadyExists: The shop has that version of the model.
        NotFound: There is no such shop.
    """
    revision = await advance_revision(connection=connection, shop=shop)
    values = {
        "shop": shop,
        "model": model,
        "version": version,
        "path": path,
        "state": BundleState.REGISTERED.value,
        "manifest": dict(manifest),
        "created_time": now,
        "activated_time": None,
        "revision": revision,
    }
    try:
        await connection.execute(insert(BUNDLES).values(values))
    except IntegrityError:
        raise AlreadyExists(f"version {version!r} of the model {model!r} is registered already") from None
    return await get_bundle(connection=connection, shop=shop, model=model, version=version)


async def activate_bundle(
    *, connection: AsyncConnection, shop: str, model: str, version: str, now: int
) -> RegisteredBundle:
    """Let a bundle serve in place of the one of its model that did.

    Raises:
        NotFound: The shop has no such bundle.
    """
    revision = await advance_revision(connection=connection, shop=shop)
    await get_bundle(connection=connection, shop=shop, model=model, version=version)
    bundles_of_model = update(BUNDLES).where(BUNDLES.c.shop == shop, BUNDLES.c.model == model)
    await connection.execute(
        bundles_of_model.where(
            BUNDLES.c.state == BundleState.ACTIVE.value, BUNDLES.c.version != version
        ).values(state=BundleState.RETIRED.value, revision=revision)
    )
    await connection.execute(
        bundles_of_model.where(BUNDLES.c.version == version).values(
            state=BundleState.ACTIVE.value, activated_time=now, revision=revision
        )
    )
    return await get_bundle(connection=connection, shop=shop, model=model, version=version)


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
        raise NotFound(f"there is no version {version!r} of the model {model!r}: register it first")
    return _bundle(row)


async def list_bundles(
    *, connection: AsyncConnection, shop: str, state: BundleState | None = None
) -> list[RegisteredBundle]:
    """Return the bundles of a shop, by model and the newest version first.

    Args:
        connection: Any.
        shop: The shop's id.
        state: Only those in this state; None for all.
    """
    query = select(BUNDLES).where(BUNDLES.c.shop == shop)
    if state is not None:
        query = query.where(BUNDLES.c.state == state.value)
    query = query.order_by(BUNDLES.c.model, BUNDLES.c.version.desc())
    return [_bundle(row) for row in (await connection.execute(query)).mappings()]


def _bundle(row: RowMapping) -> RegisteredBundle:
    return RegisteredBundle(
        model=row["model"],
        version=row["version"],
        path=row["path"],
        manifest=row["manifest"],
        state=BundleState(row["state"]),
        created_time=row["created_time"],
        activated_time=row["activated_time"],
    )
