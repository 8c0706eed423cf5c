"""Bundles: of each model exactly one serves."""

import pytest
from sqlalchemy.exc import IntegrityError

from endcap.catalog.configuration.bundles import (
    BundleState,
    RegisteredBundle,
    RegisteredModel,
    activate_bundle,
    delete_bundle,
    get_model,
    list_bundles,
    list_models,
    refuse_bundle,
    register_bundle,
    swap_revisions,
)
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.tables import BUNDLES
from endcap.sdk.errors import AlreadyExists, Conflict, FailedPrecondition, NotFound


async def _register(database: Database, model: str, version: str, *, shop: str = "default") -> None:
    bundle = RegisteredBundle(
        model=model,
        version=version,
        path=f"/bundles/{model}/{version}",
        manifest={"metrics": {"recall@20": 0.1}},
        checksum="ab12",
        size_bytes=100,
        item_count=3,
        created_time=3,
    )
    async with database.write() as connection:
        await register_bundle(connection=connection, shop=shop, bundle=bundle)


async def _activate(
    database: Database, model: str, version: str, *, shop: str = "default", etag: str = ""
) -> int:
    async with database.write() as connection:
        bundle = await activate_bundle(
            connection=connection, shop=shop, model=model, version=version, now=4, etag=etag
        )
    return bundle.revision


async def _refuse(database: Database, model: str, version: str) -> None:
    async with database.write() as connection:
        await refuse_bundle(
            connection=connection, shop="default", model=model, version=version, refusal="cracked"
        )


async def _delete(database: Database, model: str, version: str) -> None:
    async with database.write() as connection:
        await delete_bundle(connection=connection, shop="default", model=model, version=version)


async def _model(database: Database, model: str) -> RegisteredModel:
    async with database.read() as connection:
        return await get_model(connection=connection, shop="default", model=model)


async def _versions(
    database: Database, state: BundleState, *, shop: str = "default"
) -> list[tuple[str, str]]:
    async with database.read() as connection:
        bundles = await list_bundles(connection=connection, shop=shop)
    return [(bundle.model, bundle.version) for bundle in bundles if bundle.state is state]


async def test_a_registered_bundle_does_not_serve_yet(catalog_database: Database) -> None:
    await _register(catalog_database, "ease", "1")

    [bundle] = (await _model(catalog_database, "ease")).bundles
    assert (bundle.state, bundle.activated_time) == (BundleState.REGISTERED, None)
    assert (bundle.manifest, bundle.checksum, bundle.size_bytes, bundle.item_count) == (
        {"metrics": {"recall@20": 0.1}},
        "ab12",
        100,
        3,
    )
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


async def test_a_rollback_goes_to_the_bundle_that_stopped_last_whatever_its_version(
    catalog_database: Database,
) -> None:
    for version in ("3", "1", "2"):
        await _register(catalog_database, "ease", version)
        await _activate(catalog_database, "ease", version)

    model = await _model(catalog_database, "ease")

    assert model.active is not None
    assert model.active.version == "2"
    assert [bundle.version for bundle in model.retired] == ["1", "3"]
    assert [bundle.version for bundle in model.bundles] == ["3", "2", "1"]


async def test_only_what_is_served_counts_the_revision_up(catalog_database: Database) -> None:
    await _register(catalog_database, "ease", "1")
    first = await _activate(catalog_database, "ease", "1")
    await _register(catalog_database, "ease", "2")
    await _register(catalog_database, "ease", "3")
    await _delete(catalog_database, "ease", "3")
    second = await _activate(catalog_database, "ease", "2")

    assert second == first + 1
    async with catalog_database.read() as connection:
        swaps = [
            await swap_revisions(connection=connection, shop="default", revision=revision)
            for revision in (first - 1, first, second)
        ]
    assert swaps == [{second}, {second}, set()]  # both rows carry the second now, and the first is forgotten


async def test_the_etag_changes_with_every_registration_activation_refusal_and_deletion(
    catalog_database: Database,
) -> None:
    etags = []
    for step in (
        _register(catalog_database, "ease", "1"),
        _activate(catalog_database, "ease", "1"),
        _register(catalog_database, "ease", "2"),
        _refuse(catalog_database, "ease", "2"),
        _activate(catalog_database, "ease", "2"),
        _delete(catalog_database, "ease", "1"),
        _activate(catalog_database, "ease", "2"),
    ):
        await step
        etags.append((await _model(catalog_database, "ease")).etag)

    assert len(set(etags)) == len(etags)


async def test_an_outdated_etag_changes_nothing(catalog_database: Database) -> None:
    await _register(catalog_database, "ease", "1")
    read = (await _model(catalog_database, "ease")).etag
    await _register(catalog_database, "ease", "2")

    with pytest.raises(Conflict, match="read it again"):
        await _activate(catalog_database, "ease", "1", etag=read)

    assert (await _model(catalog_database, "ease")).active is None
    await _activate(catalog_database, "ease", "1", etag=(await _model(catalog_database, "ease")).etag)


async def test_a_refused_bundle_says_why_until_it_serves(catalog_database: Database) -> None:
    await _register(catalog_database, "ease", "1")
    await _refuse(catalog_database, "ease", "1")
    [refused] = (await _model(catalog_database, "ease")).bundles
    await _activate(catalog_database, "ease", "1")
    await _refuse(catalog_database, "ease", "1")
    [active] = (await _model(catalog_database, "ease")).bundles

    assert (refused.state, refused.refusal) == (BundleState.REFUSED, "cracked")
    assert (active.state, active.refusal) == (BundleState.ACTIVE, "")


async def test_an_active_bundle_is_not_deleted(catalog_database: Database) -> None:
    await _register(catalog_database, "ease", "1")
    await _activate(catalog_database, "ease", "1")

    with pytest.raises(FailedPrecondition, match="activate another one first"):
        await _delete(catalog_database, "ease", "1")
    with pytest.raises(NotFound):
        await _delete(catalog_database, "ease", "2")


async def test_models_come_by_name_with_their_bundles(catalog_database: Database) -> None:
    for model, version in (("popular", "1"), ("ease", "1"), ("ease", "2")):
        await _register(catalog_database, model, version)

    async with catalog_database.read() as connection:
        models = await list_models(connection=connection, shop="default")

    assert [(model.name, len(model.bundles)) for model in models] == [("ease", 2), ("popular", 1)]
    with pytest.raises(NotFound, match="register a bundle"):
        await _model(catalog_database, "item_knn")


async def test_what_served_longest_ago_is_surplus_first(catalog_database: Database) -> None:
    for version in ("1", "2", "3", "4"):
        await _register(catalog_database, "ease", version)
        await _activate(catalog_database, "ease", version)
    for version in ("0", "5", "6"):
        await _register(catalog_database, "ease", version)
    for version in ("0", "5"):
        await _refuse(catalog_database, "ease", version)

    model = await _model(catalog_database, "ease")

    assert [bundle.version for bundle in model.surplus(2)] == ["2", "1", "0"]
    assert [bundle.version for bundle in model.surplus(4)] == ["0"]
