"""Bundles: of each model exactly one serves."""

import pytest
from sqlalchemy.exc import IntegrityError

from endcap.catalog.bundles import (
    BundleState,
    RegisteredBundle,
    activate_bundle,
    list_bundles,
    register_bundle,
)
from endcap.catalog.database import Database
from endcap.catalog.shops import create_shop
from endcap.catalog.tables import BUNDLES
from endcap.sdk.errors import AlreadyExists, NotFound


async def _register(
    database: Database, model: str, version: str, *, shop: str = "default"
) -> RegisteredBundle:
    async with database.write() as connection:
        return await register_bundle(
            connection=connection,
            shop=shop,
            model=model,
            version=version,
            path=f"/bundles/{model}/{version}",
            manifest={"metrics": {"recall@20": 0.1}},
            now=3,
        )


async def _activate(database: Database, model: str, version: str, *, shop: str = "default") -> None:
    async with database.write() as connection:
        await activate_bundle(connection=connection, shop=shop, model=model, version=version, now=4)


async def _versions(
    database: Database, state: BundleState, *, shop: str = "default"
) -> list[tuple[str, str]]:
    async with database.read() as connection:
        bundles = await list_bundles(connection=connection, shop=shop, state=state)
    return [(bundle.model, bundle.version) for bundle in bundles]


async def test_a_registered_bundle_does_not_serve_yet(catalog_database: Database) -> None:
    bundle = await _register(catalog_database, "ease", "1")

    assert (bundle.state, bundle.activated_time) == (BundleState.REGISTERED, None)
    assert await _versions(catalog_database, BundleState.ACTIVE) == []


async def test_activating_a_bundle_retires_the_one_before_it(catalog_database: Database) -> None:
    for model, version in (("ease", "1"), ("ease", "2"), ("popular", "1")):
        await _register(catalog_database, model, version)
        await _activate(catalog_database, model, version)

    assert await _versions(catalog_database, BundleState.ACTIVE) == [("ease", "2"), ("popular", "1")]
    assert await _versions(catalog_database, BundleState.RETIRED) == [("ease", "1")]


async def test_going_back_is_activating_the_one_before(catalog_database: Database) -> None:
    for version in ("1", "2"):
        await _register(catalog_database, "ease", version)
        await _activate(catalog_database, "ease", version)

    await _activate(catalog_database, "ease", "1")

    assert await _versions(catalog_database, BundleState.ACTIVE) == [("ease", "1")]


async def test_a_version_is_registered_once_and_activated_only_then(catalog_database: Database) -> None:
    await _register(catalog_database, "ease", "1")

    with pytest.raises(AlreadyExists):
        await _register(catalog_database, "ease", "1")
    with pytest.raises(NotFound, match="register"):
        await _activate(catalog_database, "ease", "2")


async def test_the_database_itself_refuses_two_active_bundles(catalog_database: Database) -> None:
    for version in ("1", "2"):
        await _register(catalog_database, "ease", version)

    with pytest.raises(IntegrityError):
        async with catalog_database.write() as connection:
            await connection.execute(BUNDLES.update().values(state="active"))


async def test_shops_do_not_see_each_others_bundles(catalog_database: Database) -> None:
    async with catalog_database.write() as connection:
        await create_shop(connection=connection, shop="second", now=1)
    await _register(catalog_database, "ease", "1")
    await _register(catalog_database, "ease", "9", shop="second")

    await _activate(catalog_database, "ease", "9", shop="second")

    assert await _versions(catalog_database, BundleState.ACTIVE) == []
    with pytest.raises(NotFound):
        await _activate(catalog_database, "ease", "1", shop="second")
