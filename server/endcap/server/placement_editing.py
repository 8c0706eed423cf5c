"""Editing placements, for server and commands alike: checked, stored and logged in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database import Database
from endcap.catalog.placement_changes import PlacementChange, record_change
from endcap.catalog.placements import Placement, Rung, delete_placement, get_placement, put_placement
from endcap.catalog.revisions import lock_revision
from endcap.catalog.shops import get_shop
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Task
from endcap.sdk.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidInput,
    ModelMissing,
    NotFound,
)
from endcap.sdk.filters import parse_filter
from endcap.sdk.parameters import read_parameters
from endcap.server.rules import compile_rules


@dataclass(frozen=True, slots=True)
class Edit:
    """Who changes something, when, and whether to do it."""

    shop: str

    time: int
    """Unix milliseconds."""

    actor: str = ""
    """Empty where nobody says."""

    request_id: str = ""

    validate_only: bool = False
    """Whether everything is checked and nothing stored."""


class PlacementEditor:
    """Changes placements in the database; what a process serves with, ``Shops`` changes.

    Every method raises ``NotFound`` for a shop that does not exist.
    """

    def __init__(
        self,
        database: Database,
        host: PluginHost,
        generation: Callable[[str], Generation] = lambda _shop: Generation.of(()),
    ) -> None:
        """Change nothing yet.

        Args:
            database: Where the shops are.
            host: Offers the strategies.
            generation: Returns the models that a shop serves with; without them, a strategy that needs one
                is checked as far as its factory comes.
        """
        self._database = database
        self._host = host
        self._generation = generation

    async def create(self, edit: Edit, placement: Placement) -> Placement:
        """Store a new placement, and return it as stored; only checked, it has the revision 0.

        Raises:
            AlreadyExists: Its id is taken.
            FailedPrecondition: A strategy is not installed, or does not answer the task.
            InvalidInput: A parameter, a filter or a rule is wrong.
        """
        async with self._changing(edit) as connection:
            if await _find(connection, edit.shop, placement.id) is not None:
                raise AlreadyExists(
                    f"there is a placement {placement.id!r} already: update it, or choose another id"
                )
            return await self._store(connection, edit, None, placement)

    async def update(
        self, edit: Edit, placement_id: str, change: Callable[[Placement], Placement], *, etag: str = ""
    ) -> Placement:
        """Change a placement, and return it as stored; only checked, it has the revision 0.

        Args:
            edit: Who changes it.
            placement_id: Which one.
            change: Makes the new placement of the stored one, which nobody else changes meanwhile.
            etag: The state that the caller has read; empty to change any.

        Raises:
            NotFound: There is no such placement.
            Conflict: Its state is not the one named by ``etag``.
            FailedPrecondition: A strategy is not installed, or does not answer the task.
            InvalidInput: The task is another one, or a parameter, a filter or a rule is wrong.
        """
        async with self._changing(edit) as connection:
            before = await get_placement(connection=connection, shop=edit.shop, placement_id=placement_id)
            _check_etag(before, etag)
            after = change(before)
            if after.task is not before.task:
                raise InvalidInput(
                    f"the task of {before.id!r} is {before.task} and cannot change: create another placement",
                    field="placement.task",
                )
            return await self._store(connection, edit, before, after)

    async def delete(
        self, edit: Edit, placement_id: str, *, etag: str = "", allow_missing: bool = False
    ) -> int:
        """Delete a placement, and return the revision of the shop that no longer holds it; 0 if none did.

        Args:
            edit: Who deletes it.
            placement_id: Which one.
            etag: The state that the caller has read; empty to delete any.
            allow_missing: Whether one that does not exist counts as deleted.

        Raises:
            NotFound: There is no such placement.
            Conflict: Its state is not the one named by ``etag``.
        """
        async with self._changing(edit) as connection:
            before = await _find(connection, edit.shop, placement_id)
            if before is None and allow_missing:
                return 0
            if before is not None:
                _check_etag(before, etag)
            revision = await delete_placement(
                connection=connection, shop=edit.shop, placement_id=placement_id
            )
            await _record(connection, edit, revision, before, None)
            return revision

    @asynccontextmanager
    async def _changing(self, edit: Edit) -> AsyncIterator[AsyncConnection]:
        opened = self._database.read() if edit.validate_only else self._database.write()
        async with opened as connection:
            if edit.validate_only:  # PostgreSQL locks nothing for those who only read
                await get_shop(connection=connection, shop=edit.shop)
            else:
                await lock_revision(connection=connection, shop=edit.shop)
            yield connection

    async def _store(
        self, connection: AsyncConnection, edit: Edit, before: Placement | None, after: Placement
    ) -> Placement:
        # Reading filters takes milliseconds each, which other calls should not wait for.
        await asyncio.to_thread(self._check, after, Instances(self._host, self._generation(edit.shop)))
        if edit.validate_only:
            created = before.created_time if before else edit.time
            return replace(after, created_time=created, updated_time=edit.time, revision=0)
        stored = await put_placement(connection=connection, shop=edit.shop, placement=after, now=edit.time)
        await _record(connection, edit, stored.revision, before, stored)
        return stored

    def _check(self, placement: Placement, instances: Instances) -> None:
        for index, rung in enumerate(placement.ladder):
            self._check_rung(rung, placement.task, f"placement.ladder[{index}]", instances)
        with _within("placement"):
            parse_filter(placement.filter)
            compile_rules(placement.rules)

    def _check_rung(self, rung: Rung, task: Task, path: str, instances: Instances) -> None:
        try:
            registration = self._host.registration(rung.strategy)
        except NotFound as error:
            raise FailedPrecondition(f"{path}: {error}") from error
        if registration.tasks:
            _check_task(rung.strategy, registration.tasks, task, path)
        with _within(f"{path}.parameters"):
            read_parameters(registration.parameters, rung.parameters)
            try:
                # As serving does it: some values are refused by the strategy itself.
                strategy = instances.get(rung.strategy, rung.parameters)
            except ModelMissing:
                return  # until it is trained
            except (FailedPrecondition, NotFound) as error:
                raise FailedPrecondition(f"{path}: {error}") from error
        _check_task(rung.strategy, strategy.tasks, task, path)


def _check_task(strategy: str, tasks: Collection[Task], task: Task, path: str) -> None:
    if task not in tasks:
        answered = ", ".join(sorted(tasks))
        raise FailedPrecondition(
            f"{path}: the strategy {strategy!r} does not answer the task {task}, but {answered}"
        )


async def _find(connection: AsyncConnection, shop: str, placement_id: str) -> Placement | None:
    try:
        return await get_placement(connection=connection, shop=shop, placement_id=placement_id)
    except NotFound:
        return None


async def _record(
    connection: AsyncConnection,
    edit: Edit,
    revision: int,
    before: Placement | None,
    after: Placement | None,
) -> None:
    changed = after or before
    if changed is not None:
        change = PlacementChange(changed.id, revision, edit.time, before, after, edit.actor, edit.request_id)
        await record_change(connection=connection, shop=edit.shop, change=change)


def _check_etag(placement: Placement, etag: str) -> None:
    if etag and etag != placement.etag:
        raise Conflict(f"the placement {placement.id!r} was changed by somebody else: read it again")


@contextmanager
def _within(path: str) -> Iterator[None]:
    """Name the field that is wrong by where it is in the request."""
    try:
        yield
    except InvalidInput as error:
        field = f"{path}.{error.field}" if error.field else path
        raise InvalidInput(f"{field}: {error}", field=field) from error
