"""Changing placements: checked, stored and logged in one transaction."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.configuration.audit_log import PlacementChange, record_change
from endcap.catalog.configuration.placements import (
    Placement,
    RungSpec,
    delete_placement,
    find_placement,
    get_placement,
    put_placement,
)
from endcap.catalog.database.engine import Database
from endcap.catalog.database.revisions import check_etag
from endcap.runtime.instances import Generation, Instances
from endcap.runtime.plugin_host import PluginHost
from endcap.sdk import Task
from endcap.sdk.errors import AlreadyExists, FailedPrecondition, InvalidInput, ModelMissing, NotFound
from endcap.sdk.filters import parse_filter
from endcap.sdk.parameters import read_parameters
from endcap.server.admin.caller import Caller
from endcap.server.admin.changing import changing
from endcap.server.reranking import compile_rules


class PlacementEditor:
    """Changes placements in the database; ``Shops`` changes what a process serves.

    Every method raises ``NotFound`` for a shop that does not exist.
    """

    def __init__(
        self,
        database: Database,
        host: PluginHost,
        generation: Callable[[str], Generation] = lambda _shop: Generation.of(()),
    ) -> None:
        """Set up the editor.

        Args:
            database: Where the shops are.
            host: Offers the strategies.
            generation: Returns the models that a shop serves with; without them, a strategy that needs one
                is checked until its factory asks for the model.
        """
        self._database = database
        self._host = host
        self._generation = generation

    async def create(self, caller: Caller, placement: Placement) -> Placement:
        """Store a new placement, and return it as stored; only checked, it has the revision 0.

        Raises:
            AlreadyExists: A placement with this id exists.
            FailedPrecondition: A strategy is not installed, or does not answer the task.
            InvalidInput: A parameter, a filter or a rule is wrong.
        """
        async with changing(self._database, caller) as connection:
            if await find_placement(connection=connection, shop=caller.shop, placement_id=placement.id):
                raise AlreadyExists(
                    f"placement {placement.id!r} already exists: update it, or choose another id"
                )
            return await self._store(connection, caller, None, placement)

    async def update(
        self, caller: Caller, placement_id: str, change: Callable[[Placement], Placement], *, etag: str = ""
    ) -> Placement:
        """Change a placement, and return it as stored; only checked, it has the revision 0.

        Args:
            caller: Who changes it.
            placement_id: Which one.
            change: Makes the new placement of the stored one, which nobody else changes meanwhile.
            etag: The state that the caller has read; empty to change any.

        Raises:
            NotFound: The placement does not exist.
            Conflict: Its state is not the one named by ``etag``.
            FailedPrecondition: A strategy is not installed, or does not answer the task.
            InvalidInput: The task would change, or a parameter, a filter or a rule is invalid.
        """
        async with changing(self._database, caller) as connection:
            before = await get_placement(connection=connection, shop=caller.shop, placement_id=placement_id)
            check_etag(before.etag, etag)
            after = change(before)
            if after.task is not before.task:
                raise InvalidInput(
                    f"the task of {before.id!r} is {before.task} and cannot change: create another placement",
                    field="placement.task",
                )
            return await self._store(connection, caller, before, after)

    async def delete(
        self, caller: Caller, placement_id: str, *, etag: str = "", allow_missing: bool = False
    ) -> int:
        """Delete a placement, and return the revision of the shop without it; 0 if it did not exist.

        Args:
            caller: Who deletes it.
            placement_id: Which one.
            etag: The state that the caller has read; empty to delete any.
            allow_missing: Whether a placement that does not exist counts as deleted.

        Raises:
            NotFound: The placement does not exist.
            Conflict: Its state is not the one named by ``etag``.
        """
        async with changing(self._database, caller) as connection:
            before = await find_placement(connection=connection, shop=caller.shop, placement_id=placement_id)
            if before is None and allow_missing:
                return 0
            if before is not None:
                check_etag(before.etag, etag)
            revision = await delete_placement(
                connection=connection, shop=caller.shop, placement_id=placement_id
            )
            await _record(connection, caller, revision, before, None)
            return revision

    async def _store(
        self, connection: AsyncConnection, caller: Caller, before: Placement | None, after: Placement
    ) -> Placement:
        # Reading filters takes milliseconds each, which other calls should not wait for.
        await asyncio.to_thread(self._check, after, Instances(self._host, self._generation(caller.shop)))
        if caller.validate_only:
            created = before.created_time if before else caller.time
            return replace(after, created_time=created, updated_time=caller.time, revision=0)
        stored = await put_placement(
            connection=connection, shop=caller.shop, placement=after, now=caller.time
        )
        await _record(connection, caller, stored.revision, before, stored)
        return stored

    def _check(self, placement: Placement, instances: Instances) -> None:
        for index, rung in enumerate(placement.ladder):
            self._check_rung(rung, placement.task, f"placement.ladder[{index}]", instances)
        with _within("placement"):
            parse_filter(placement.filter)
            compile_rules(placement.rules)

    def _check_rung(self, rung: RungSpec, task: Task, path: str, instances: Instances) -> None:
        try:
            registration = self._host.registration(rung.strategy)
        except NotFound as error:
            raise FailedPrecondition(f"{path}: {error}") from error
        if registration.tasks:
            _check_task(rung.strategy, registration.tasks, task, path)
        with _within(f"{path}.parameters"):
            read_parameters(registration.parameters, rung.parameters)
            try:
                # As serving does it: a strategy rejects some values itself.
                tasks = instances.tasks(rung.strategy, rung.parameters)
            except ModelMissing:
                return  # until it is trained
            except (FailedPrecondition, NotFound) as error:
                raise FailedPrecondition(f"{path}: {error}") from error
        _check_task(rung.strategy, tasks, task, path)


def _check_task(strategy: str, tasks: Collection[Task], task: Task, path: str) -> None:
    if task not in tasks:
        answered = ", ".join(sorted(tasks))
        raise FailedPrecondition(
            f"{path}: the strategy {strategy!r} does not answer the task {task}, but {answered}"
        )


async def _record(
    connection: AsyncConnection,
    caller: Caller,
    revision: int,
    before: Placement | None,
    after: Placement | None,
) -> None:
    changed = after or before
    if changed is not None:
        change = PlacementChange(
            changed.id, revision, caller.time, before, after, caller.actor, caller.request_id
        )
        await record_change(connection=connection, shop=caller.shop, change=change)


@contextmanager
def _within(path: str) -> Iterator[None]:
    """Prefix the field of an error with a path in the request."""
    try:
        yield
    except InvalidInput as error:
        field = f"{path}.{error.field}" if error.field else path
        raise InvalidInput(f"{field}: {error}", field=field) from error
