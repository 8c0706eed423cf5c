"""Creating, changing and deleting shops, for the server and for commands alike.

``endcap.server.serving.shops`` changes what a process serves.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from endcap.catalog.configuration.shop_changes import ShopChange, audited, record_shop_change
from endcap.catalog.configuration.shop_deletion import delete_shop, empty_shop
from endcap.catalog.configuration.shop_settings import ShopSettings, check_settings
from endcap.catalog.configuration.shops import ShopRecord, change_shop, create_shop, find_shop, get_shop
from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import check_etag, lock_revision
from endcap.sdk.errors import AlreadyExists, InvalidInput
from endcap.server.admin.caller import Caller
from endcap.server.admin.changing import changing
from endcap.server.models.files import BundleFiles


_NAMES = tuple(field.name for field in fields(ShopSettings))


@dataclass(frozen=True, slots=True)
class ShopEditor:
    """Changes shops in the database, and the files of their bundles."""

    database: Database
    files: BundleFiles

    async def create(self, caller: Caller, settings: ShopSettings) -> ShopRecord:
        """Create a shop with the default placements, and return it; only checked, it has the revision 0.

        Args:
            caller: Who creates it; the shop is theirs.
            settings: Its settings.

        Raises:
            AlreadyExists: A shop with this id exists.
            InvalidInput: A setting is out of its range.
        """
        shop = caller.shop
        with _within_shop():
            check_settings(settings)
        if caller.validate_only:
            async with self.database.read() as connection:
                if await find_shop(connection=connection, shop=shop):
                    raise AlreadyExists(f"shop {shop!r} already exists: choose another id")
            return _with_settings(
                ShopRecord(id=shop, token_key=b"", revision=0, created_time=caller.time), settings
            )
        async with self.database.write() as connection:
            await create_shop(connection=connection, shop=shop, now=caller.time)
            _, created = await change_shop(
                connection=connection, shop=shop, change=lambda stored: _with_settings(stored, settings)
            )
            change = _entry(caller, created, before=None)
            await record_shop_change(connection=connection, shop=shop, change=change)
            return created

    async def update(
        self, caller: Caller, change: Callable[[ShopSettings], ShopSettings], *, etag: str = ""
    ) -> ShopRecord:
        """Change the settings of a shop, and return it; only checked, it has the revision 0.

        Args:
            caller: Who changes it; the shop is theirs.
            change: Makes the new settings of the stored ones, which nobody else changes meanwhile.
            etag: The state that the caller has read; empty to change any.

        Raises:
            NotFound: The shop does not exist.
            Conflict: Its state is not the one named by ``etag``.
            InvalidInput: A setting is out of its range.
        """
        shop = caller.shop

        with _within_shop():
            async with changing(self.database, caller) as connection:
                before = await get_shop(connection=connection, shop=shop)
                check_etag(before.etag, etag)
                wanted = _with_settings(before, change(before))
                check_settings(wanted)
                if caller.validate_only:
                    return replace(wanted, revision=0)
                _, after = await change_shop(connection=connection, shop=shop, change=lambda _: wanted)
                entry = _entry(caller, after, before=before)
                await record_shop_change(connection=connection, shop=shop, change=entry)
                return after

    async def delete(self, caller: Caller, *, etag: str = "", allow_missing: bool = False) -> bool:
        """Delete a shop with everything that belongs to it, and return whether it existed.

        Events, exposures and words are deleted in batches first, so that other shops are written meanwhile. A
        deletion that was stopped is completed by the next one.

        Args:
            caller: Who deletes it; the shop is theirs.
            etag: The state that the caller has read; empty to delete any.
            allow_missing: Whether a shop that does not exist counts as deleted.

        Raises:
            NotFound: The shop does not exist.
            Conflict: Its state is not the one named by ``etag``.
        """
        shop = caller.shop
        async with self.database.read() as connection:
            if allow_missing and await find_shop(connection=connection, shop=shop) is None:
                return False
            check_etag((await get_shop(connection=connection, shop=shop)).etag, etag)
        await empty_shop(self.database, shop)
        async with self.database.write() as connection:
            await lock_revision(connection=connection, shop=shop)
            check_etag((await get_shop(connection=connection, shop=shop)).etag, etag)
            await delete_shop(connection=connection, shop=shop)
            # Within the transaction, so that no new shop of the id has files meanwhile.
            await asyncio.to_thread(self.files.discard_all_but, shop, frozenset())
        await asyncio.to_thread(self.files.sweep)
        return True


def _entry(caller: Caller, after: ShopRecord, *, before: ShopRecord | None) -> ShopChange:
    return ShopChange(
        after.revision,
        caller.time,
        None if before is None else audited(before),
        audited(after),
        caller.actor,
        caller.request_id,
    )


def _with_settings(shop: ShopRecord, settings: ShopSettings) -> ShopRecord:
    return replace(shop, **{name: getattr(settings, name) for name in _NAMES})


@contextmanager
def _within_shop() -> Iterator[None]:
    """Prefix the field of an error with the shop's path in the request."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(str(error), field=f"shop.{error.field}") from error
