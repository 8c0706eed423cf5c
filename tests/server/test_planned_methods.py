"""Methods that the contract has and this release does not: they say so, and reflection is silent on them."""

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

import endcap.v1
from endcap.server.app import Application
from endcap.server.settings import Settings


PROTOS = Path(__file__).parents[2] / "protos"
CONTRACT = "".join(file.read_text(encoding="utf-8") for file in PROTOS.rglob("*_service.proto"))
PLANNED = set(
    re.findall(r"  // Not available in this release; answers UNIMPLEMENTED\.\n  rpc (\w+)", CONTRACT)
)
"""Names of the methods whose comment ends so; no two services have a method of one name."""

RPCS: list[MethodDescriptor] = [
    method
    for module in pkgutil.iter_modules(endcap.v1.__path__)
    if module.name.endswith("_service_pb2")
    for service in import_module(f"endcap.v1.{module.name}").DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


async def call(channel: grpc.aio.Channel, rpc: MethodDescriptor) -> grpc.aio.AioRpcError | None:
    """Send one empty message and return the error that it is answered with."""
    kind = f"{'stream' if rpc.client_streaming else 'unary'}_{'stream' if rpc.server_streaming else 'unary'}"
    method: Any = getattr(channel, kind)(f"/{rpc.containing_service.full_name}/{rpc.name}")
    answers = method(iter([b""]) if rpc.client_streaming else b"", timeout=10)
    try:
        if rpc.server_streaming:
            async for _ in answers:
                pass
        else:
            await answers
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_exactly_the_methods_that_the_contract_marks_answer_unimplemented_with_a_sentence(
    application: Application,
) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel:
        errors = {rpc.name: await call(channel, rpc) for rpc in RPCS}

    unimplemented = {
        name: error.details()
        for name, error in errors.items()
        if error is not None and error.code() is grpc.StatusCode.UNIMPLEMENTED
    }
    assert unimplemented == dict.fromkeys(PLANNED, "this release does not have the method yet")
    assert len(unimplemented) > 40


async def test_reflection_lists_no_service_of_which_nothing_is_built(settings: Settings) -> None:
    application = Application(settings.model_copy(update={"reflection": True}))
    await application.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{application.port}") as channel:
        stub_of: Any = ServerReflectionStub  # its types know neither that it can be called nor this channel
        asked = stub_of(channel).ServerReflectionInfo(iter([ServerReflectionRequest(list_services="*")]))
        names = {service.name async for answer in asked for service in answer.list_services_response.service}
    await application.stop()

    built = {rpc.containing_service.full_name for rpc in RPCS if rpc.name not in PLANNED}
    assert {name for name in names if name.startswith("endcap.v1.")} == built


@pytest.mark.parametrize("readme", ["README.md", "protos/README.md"])
def test_readmes_name_no_planned_service(readme: str) -> None:
    services = {rpc.containing_service.name for rpc in RPCS}
    built = {rpc.containing_service.name for rpc in RPCS if rpc.name not in PLANNED}

    text = (PROTOS.parent / readme).read_text(encoding="utf-8")

    assert not {service for service in services - built if service in text}
