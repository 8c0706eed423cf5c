"""Writing items and users, in one request or in a stream of them, and serving what was written."""

import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.database import Database
from endcap.sdk.errors import InvalidInput
from endcap.server.catalog_editing import Change, Edit, Entry, EntryKind, Sent, Written, write_entries
from endcap.server.convert.rejections import write_rejection
from endcap.server.interceptors import current_call
from endcap.server.limits import MAX_REJECTIONS, check_id, check_limit
from endcap.server.shops import Shop, Shops
from endcap.v1 import rejection_pb2


class _Request(Protocol):
    """What the requests that write have in common."""

    @property
    def request_id(self) -> str: ...

    @property
    def validate_only(self) -> bool: ...

    @property
    def update_mask(self) -> FieldMask: ...

    def HasField(self, field_name: Literal["update_mask"], /) -> bool: ...


Request = TypeVar("Request", bound=_Request)


@dataclass(frozen=True, slots=True)
class Form(Generic[Request, Sent, Entry]):
    """How requests carry entries of one kind."""

    field: str
    """The field that holds the entries."""

    entries: Callable[[Request], Sequence[Sent]]
    """Returns what the field holds."""

    reader: Callable[[FieldMask | None], Callable[[Sent, int], Change[Entry]]]
    """Returns what reads the entries, of which the fields of a mask are written."""

    kind: EntryKind[Entry]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of what was sent."""

    count: int
    """Entries that were stored, or would have been."""

    rejected: int
    """Entries that were not."""

    rejections: Sequence[rejection_pb2.Rejection]
    """Why, in their order; of a stream, the first ``MAX_REJECTIONS``."""

    revision: int
    """The revision that a client may require."""

    request_id: str


class CatalogWriter:
    """Stores what requests carry, and brings it into service."""

    def __init__(self, shops: Shops, database: Database) -> None:
        self._shops = shops
        self._database = database

    async def write(self, request: Request, form: Form[Request, Sent, Entry]) -> Stored:
        """Store the entries of one request, or only check them.

        Raises:
            InvalidInput: There are none or too many of them, or another field is wrong.
        """
        shop, edit = self._shop(), read_edit(request.request_id, validate_only=request.validate_only)
        read = form.reader(_mask(request))
        written = await write_entries(
            self._database, form.kind, required(form.field, form.entries(request)), edit, read=read
        )
        return Stored(
            count=written.count,
            rejected=len(written.refusals),
            rejections=_rejections(written),
            revision=await self.serve(shop, written.revision),
            request_id=edit.request_id,
        )

    async def write_stream(
        self, requests: AsyncIterator[Request], form: Form[Request, Sent, Entry]
    ) -> Stored:
        """Store a stream, one message a transaction, so that it takes no more memory than a message.

        Raises:
            InvalidInput: A message holds too many entries, or another field of the first is wrong.
        """
        shop, edit = self._shop(), None
        sent = count = rejected = revision = 0
        rejections: list[rejection_pb2.Rejection] = []
        async for request in requests:
            if edit is None:
                edit = read_edit(request.request_id, validate_only=request.validate_only)
                read = form.reader(_mask(request))
            entries = form.entries(request)
            check_limit(form.field, entries)
            written = await write_entries(
                self._database, form.kind, entries, edit.at(int(time.time() * 1000)), read=read
            )
            count += written.count
            rejected += len(written.refusals)
            rejections += _rejections(written, start=sent)[: MAX_REJECTIONS - len(rejections)]
            revision = max(revision, written.revision)
            sent += len(entries)
        return Stored(
            count=count,
            rejected=rejected,
            rejections=rejections,
            revision=await self.serve(shop, revision),
            request_id=edit.request_id if edit else uuid.uuid4().hex,
        )

    async def serve(self, shop: Shop, revision: int) -> int:
        """Serve what was stored, if anything was, and return the revision that a client may require."""
        if revision > shop.revision:
            # The answer must come in time: what is not served by then, the next refresh brings.
            now = time.monotonic()
            await self._shops.reach(shop, revision, now + (current_call.get().deadline - now) / 2)
        return revision or shop.revision

    def _shop(self) -> Shop:
        return self._shops.get(current_call.get().shop)


def read_edit(request_id: str, *, validate_only: bool = False) -> Edit:
    """Return the edit that the call at hand makes, under a new id where it was sent none.

    Raises:
        InvalidInput: The id is none.
    """
    if request_id:
        check_id("request_id", request_id)
    call = current_call.get()
    return Edit(call.shop, call.time, request_id or uuid.uuid4().hex, validate_only=validate_only)


_Each = TypeVar("_Each")


def required(field: str, entries: Sequence[_Each], *, limit: str = "") -> Sequence[_Each]:
    """Return the entries of a field, of which there is at least one.

    Args:
        field: Its name.
        entries: What it holds.
        limit: Its name in the table of limits, where that is another one.

    Raises:
        InvalidInput: There is none, or there are too many.
    """
    if not entries:
        raise InvalidInput(f"{field} are required: send at least one", field=field)
    check_limit(limit or field, entries, path=field)
    return entries


def _mask(request: _Request) -> FieldMask | None:
    return request.update_mask if request.HasField("update_mask") else None


def _rejections(written: Written, *, start: int = 0) -> list[rejection_pb2.Rejection]:
    return [write_rejection(start + refusal.index, refusal.id, refusal.error) for refusal in written.refusals]
