"""Random and mutated messages to every RPC: no answer may be UNKNOWN, nor INTERNAL, which is a bug of ours.

Run it with ``python tests/server/fuzzing.py``; an argument is another number of messages to each RPC, and
further ones name the services to send them to, such as ``CatalogService``. It starts a server of its own over
an imported shop, finds the RPCs in the contract, and fails and prints the message when there is such an
answer.
"""

import asyncio
import logging
import pkgutil
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import endcap.v1
from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.importing.importer import import_folder
from endcap.server.app import Application
from endcap.server.settings import Settings


MESSAGES = 10_000
"""Messages to each RPC."""

CONCURRENT = 64
SEED = 20_260_801
DEEPEST = 6

LOST_STATUS = "Internal error from Core"
"""What grpc's asyncio client says when the server ends a stream while it writes to it (grpc issue 36066)."""

FORBIDDEN = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)

USUAL_TEXTS = {
    "placement": ("home", "product", "rank", "recently-viewed"),
    "filter": ("", "price < 20", 'category = "toys"'),
    "currency_code": ("GBP",),
    "language_code": ("en", "de-CH"),
    "image_uris": ("https://shop.example/mug.jpg",),
    "key": ("mug", "kettle"),
    "paths": ("tags",),
    "etag": ("",),
    "page_token": ("",),
    "attribution_token": ("",),
    "strategy": ("popular", "ease"),
    "": ("mug", "kettle", "home", "eve", "popular", "view", "1"),
}
"""What fields of these names hold in a message that makes sense; the last is for all other names."""

UNUSUAL_TEXTS = (
    *("", " ", "0", "-1", "x" * 129, "x" * 5_000, "\x00", "a\nb", "\u202e", "e\u0301", "\ufeff", "💥" * 40),
    *("../../etc/passwd", "/", "' OR 1=1 --", "NOT (", '"', "price =", "2024-13-01T00:00:00Z", "*", "NaN"),
)
USUAL_INTEGERS = {"seconds": (1_700_000_000,), "": (0, 1, 2, 10)}
"""As ``USUAL_TEXTS``."""

UNUSUAL_INTEGERS = (101, -1, 2**31 - 1, -(2**31), 2**53, 2**63 - 1, -(2**63), 1_700_000_000)
USUAL_NUMBERS = (0.0, 0.5, 1.0)
UNUSUAL_NUMBERS = (-0.0, -1.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"))

SHOP = {
    "items.csv": (
        "item_id,title,categories,tags,price,availability\n"
        "mug,Mug,toys,new,9.5,in_stock\nkettle,Kettle,,,19.99,preorder\nhome,Home,,old,,out_of_stock\n"
    ),
    "users.csv": 'user_id,tags,attributes,language_code\neve,new,"{""floor"": 3}",de\nmug,,,\n',
    "events.csv": (
        "event_id,type,user_id,item_id,time\n"
        "1,view,eve,mug,2023-11-14T22:13:20Z\n2,purchase,mug,kettle,2023-11-14T22:13:21Z\n"
    ),
}
"""What the shop that is fuzzed was imported from, by file."""

_INTEGER_BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class Fuzzer:
    """Makes messages, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._filled = 0.5  # of a message's fields
        self._unusual = 0.5  # of a message's values

    def encoded(self, descriptor: Descriptor) -> bytes:
        """Make the bytes of a message: none, any, a spoiled one's, any one's, or those with some damage."""
        kind = self._random.random()
        if kind < 0.05:
            return b""
        if kind < 0.15:
            return self._random.randbytes(self._random.randrange(200))
        if kind < 0.4:
            return self.spoiled(descriptor).SerializeToString()
        self._filled = self._random.choice((0.2, 0.5, 0.9))
        self._unusual = self._random.choice((0.0, 0.0, 0.1, 0.5))
        whole = self.message(descriptor).SerializeToString()
        return whole if kind < 0.7 else self._damaged(whole)

    def spoiled(self, descriptor: Descriptor) -> Message:
        """Make a message that makes sense but for one field, which holds what nobody should send."""
        self._filled, self._unusual = 0.9, 0.0
        message = self.message(descriptor)
        places = list(_places(message))
        if places:
            owner, field = self._random.choice(places)
            owner.ClearField(field.name)
            self._unusual = 1.0
            self._fill(owner, field, depth=DEEPEST - 2)
        return message

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        """Fill some fields of a message."""
        message = GetMessageClass(descriptor)()
        for field in descriptor.fields:
            if self._random.random() < self._filled and (field.message_type is None or depth < DEEPEST):
                self._fill(message, field, depth)
        return message

    def _fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        values = getattr(message, field.name)
        count = self._random.choice((1, 1, 2, 3, 4 if depth else 40))
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            for _ in range(count):
                key = self._value(entry.fields_by_name["key"], depth)
                value = self._value(entry.fields_by_name["value"], depth)
                if isinstance(value, Message):
                    values[key].CopyFrom(value)
                else:
                    values[key] = value
        elif field.is_repeated:
            values.extend(self._value(field, depth) for _ in range(count))
        elif entry is not None:
            values.CopyFrom(self._value(field, depth))
        else:
            setattr(message, field.name, self._value(field, depth))

    def _value(self, field: FieldDescriptor, depth: int) -> Any:
        unusual = self._random.random() < self._unusual
        kind = field.cpp_type
        if field.message_type is not None:
            return self.message(field.message_type, depth + 1)
        if field.enum_type is not None:
            known = [value.number for value in field.enum_type.values]
            return self._random.choice((99, -1) if unusual else known)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self._random.random() < 0.5
        if kind in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
            return self._random.choice(UNUSUAL_NUMBERS if unusual else USUAL_NUMBERS)
        if kind == FieldDescriptor.CPPTYPE_STRING:
            usual = USUAL_TEXTS.get(field.name, USUAL_TEXTS[""])
            text = self._random.choice(UNUSUAL_TEXTS if unusual else usual)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        lowest, highest = _INTEGER_BOUNDS[kind]
        usual_integers = USUAL_INTEGERS.get(field.name, USUAL_INTEGERS[""])
        value = self._random.choice(UNUSUAL_INTEGERS if unusual else usual_integers)
        return min(max(value, lowest), highest)

    def _damaged(self, message: bytes) -> bytes:
        damaged = bytearray(message)
        for _ in range(self._random.randint(1, 4)):
            start = self._random.randrange(len(damaged) + 1)
            end = min(len(damaged), start + self._random.randint(1, 16))
            kind = self._random.randrange(4)
            if kind == 0 and start < len(damaged):
                damaged[start] ^= 1 << self._random.randrange(8)
            elif kind == 1:
                del damaged[start:end]
            elif kind == 2:
                damaged[start:start] = damaged[start:end]
            else:
                damaged[start:start] = self._random.randbytes(self._random.randint(1, 8))
        return bytes(damaged)


def _places(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Yield every field that is set, however deep, and the message that it is a field of."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = [entry for entry in value.values() if isinstance(entry, Message)]
        else:
            inner = value if field.is_repeated else [value]
        for each in inner:
            yield from _places(each)


def rpcs(chosen: Collection[str] = ()) -> list[MethodDescriptor]:
    """Return every RPC of the contract, health and reflection; those that delete come last.

    Args:
        chosen: Names of services; none for all.
    """
    names = [f"endcap.v1.{module.name}" for module in pkgutil.iter_modules(endcap.v1.__path__)]
    modules = [import_module(name) for name in names if name.endswith("_service_pb2")]
    services = [
        service
        for module in (*modules, health_pb2, reflection_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    ]
    found = [
        method for service in services if not chosen or service.name in chosen for method in service.methods
    ]
    return sorted(found, key=lambda method: method.name.startswith("Delete"))


async def send(channel: grpc.aio.Channel, rpc: MethodDescriptor, messages: list[bytes]) -> grpc.StatusCode:
    """Call an RPC with messages, one unless it takes a stream, and return the status of its answer."""
    kind = f"{'stream' if rpc.client_streaming else 'unary'}_{'stream' if rpc.server_streaming else 'unary'}"
    method = getattr(channel, kind)(f"/{rpc.containing_service.full_name}/{rpc.name}")
    call = method(iter(messages) if rpc.client_streaming else messages[0], timeout=30)
    try:
        if not rpc.server_streaming:
            await call
        # No more responses than requests, for some streams never end.
        elif all([await call.read() is not grpc.aio.EOF for _ in messages]):
            call.cancel()
    except grpc.aio.AioRpcError as error:
        if error.details() == LOST_STATUS:
            return await send(channel, rpc, messages)
        return error.code()
    return grpc.StatusCode.OK


async def fuzz(channel: grpc.aio.Channel, rpc: MethodDescriptor, count: int) -> bool:
    """Send messages to one RPC, print what came of them, and return whether all is well."""
    fuzzer = Fuzzer(SEED)
    codes: Counter[str] = Counter()
    bad: list[tuple[grpc.StatusCode, list[bytes]]] = []
    started = time.perf_counter()
    while (sent := codes.total()) < count:
        calls = [
            [fuzzer.encoded(rpc.input_type) for _ in range(2 if rpc.client_streaming else 1)]
            for _ in range(min(CONCURRENT, count - sent))
        ]
        answers = await asyncio.gather(*(send(channel, rpc, messages) for messages in calls))
        codes.update(code.name for code in answers)
        bad += [pair for pair in zip(answers, calls, strict=True) if pair[0] in FORBIDDEN]
    seconds = time.perf_counter() - started
    counts = ", ".join(f"{code} {number}" for code, number in codes.most_common())
    print(f"{rpc.full_name:60} {codes.total()} messages in {seconds:5.1f} s: {counts}", flush=True)
    for code, messages in bad[:1]:
        print(f"  {code.name} for {[message.hex() for message in messages]}")
    return not bad


async def run(folder: Path, count: int, chosen: Collection[str]) -> int:
    """Serve a shop from a folder and fuzz the RPCs; return 1 when something is wrong."""
    url = f"sqlite:///{folder / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=0, currency="GBP")
    (folder / "shop").mkdir()
    for name, content in SHOP.items():
        (folder / "shop" / name).write_text(content, encoding="utf-8")
    report = await import_folder(database, "default", folder / "shop", now=1_700_000_000_000)
    await database.close()
    if report.rejected or not report.items:
        raise RuntimeError(f"the shop was not imported: {report}")
    application = Application(
        Settings(
            address="127.0.0.1:0",
            database_url=url,
            bundle_store=folder / "trained",
            bundles_folder=folder / "bundles",
            reflection=True,
            drain_seconds=0.1,
        )
    )
    await application.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel:
        is_well = [await fuzz(channel, rpc, count) for rpc in rpcs(chosen)]
    await application.stop()
    return int(not all(is_well))


def main() -> int:
    """Fuzz the RPCs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder), count, sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
