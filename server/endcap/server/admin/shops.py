"""Creating, changing and deleting shops, for the server and for commands alike.

What a process serves with, ``endcap.server.shops`` changes.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.shop_changes import ShopChange, audited, record_shop_change
from endcap.catalog.configuration.shop_deletion import delete_shop, empty_shop
from endcap.catalog.configuration.shop_settings import ShopSettings, check_settings
from endcap.catalog.database import Database
from endcap.catalog.revisions import lock_revision
from endcap.catalog.shops import Shop, change_shop, create_shop, get_shop
from endcap.sdk.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from endcap.server.bundle_files import BundleFiles


_NAMES = tuple(field.name for field in fields(ShopSettings))


@dataclass(frozen=True, slots=True)
class ShopEditor:
    """Changes shops in the database, and the files of their bundles."""

    database: Database
    files: BundleFiles

    async def create(
        self,
        shop: str,
        settings: ShopSettings,
        *,
        now: int,
        actor: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> Shop:
        """Create a shop with the default placements, and return it; only checked, it has the revision 0.

        Args:
            shop: Its id.
            settings: Its settings.
            now: Unix milliseconds.
            actor: Who creates it, for the log; empty where nobody says.
            request_id: The call that does.
            validate_only: Whether everything is checked and nothing stored.

        Raises:
            AlreadyExists: Its id is taken.
            InvalidInput: A setting is out of its range.
        """
        with _within_shop():
            check_settings(settings)
        if validate_only:
            async with self.database.read() as connection:
                if await _exists(connection, shop):
                    raise AlreadyExists(f"there is a shop {shop!r} already: choose another id")
            return _with_settings(Shop(id=shop, token_key=b"", revision=0, created_time=now), settings)
        async with self.database.write() as connection:
            await create_shop(connection=connection, shop=shop, now=now)
            _, created = await change_shop(
                connection=connection, shop=shop, change=lambda stored: _with_settings(stored, settings)
            )
            change = ShopChange(created.revision, now, None, audited(created), actor, request_id)
            await record_shop_change(connection=connection, shop=shop, change=change)
            return created

    async def update(
        self,
        shop: str,
        change: Callable[[ShopSettings], ShopSettings],
        *,
        now: int,
        etag: str = "",
        actor: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> Shop:
        """Change the settings of a shop, and return it; only checked, it has the revision 0.

        Args:
            shop: Its id.
            change: Makes the new settings of the stored ones, which nobody else changes meanwhile.
            now: Unix milliseconds.
            etag: The state that the caller has read; empty to change any.
            actor: Who changes it, for the log; empty where nobody says.
            request_id: The call that does.
            validate_only: Whether everything is checked and nothing stored.

        Raises:
            NotFound: There is no such shop.
            Conflict: Its state is not the one named by ``etag``.
            InvalidInput: A setting is out of its range.
        """

        def changed(stored: Shop) -> Shop:
            _check_etag(stored, etag)
            after = _with_settings(stored, change(stored))
            check_settings(after)
            return after

        with _within_shop():
            if validate_only:
                async with self.database.read() as connection:
                    return replace(changed(await get_shop(connection=connection, shop=shop)), revision=0)
            async with self.database.write() as connection:
                before, after = await change_shop(connection=connection, shop=shop, change=changed)
                entry = ShopChange(after.revision, now, audited(before), audited(after), actor, request_id)
                await record_shop_change(connection=connection, shop=shop, change=entry)
                return after

    async def delete(self, shop: str, *, etag: str = "", allow_missing: bool = False) -> bool:
        """Delete a shop with everything that belongs to it, and return whether it existed.

        Events, exposures and words are deleted in batches first, so that other shops are written meanwhile. A
        deletion that was stopped is completed by the next one.

        Args:
            shop: Its id.
            etag: The state that the caller has read; empty to delete any.
            allow_missing: Whether one that does not exist counts as deleted.

        Raises:
            NotFound: There is no such shop.
            Conflict: Its state is not the one named by ``etag``.
        """
        async with self.database.read() as connection:
            if allow_missing and not await _exists(connection, shop):
                return False
            _check_etag(await get_shop(connection=connection, shop=shop), etag)
        await empty_shop(self.database, shop)
        async with self.database.write() as connection:
            await lock_revision(connection=connection, shop=shop)
            _check_etag(await get_shop(connection=connection, shop=shop), etag)
            await delete_shop(connection=connection, shop=shop)
            # Within the transaction, so that no new shop of the id has files meanwhile.
            await asyncio.to_thread(self.files.discard_all_but, shop, frozenset())
        await asyncio.to_thread(self.files.sweep)
        return True


def _with_settings(shop: Shop, settings: ShopSettings) -> Shop:
    return replace(shop, **{name: getattr(settings, name) for name in _NAMES})


async def _exists(connection: AsyncConnection, shop: str) -> bool:
    try:
        await get_shop(connection=connection, shop=shop)
    except NotFound:
        return False
    return True


def _check_etag(shop: Shop, etag: str) -> None:
    if etag and etag != shop.etag:
        raise Conflict(f"the shop {shop.id!r} was changed since it was read: read it again")


@contextmanager
def _within_shop() -> Iterator[None]:
    """Name the setting that is wrong by where it is in the request."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(str(error), field=f"shop.{error.field}") from error
