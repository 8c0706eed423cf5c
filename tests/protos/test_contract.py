"""The contract: every element explained, limits printed, code fresh, nothing broken."""

import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

import endcap.v1
from endcap.v1.role_pb2 import Role, required_role


REPOSITORY = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")

ELEMENTS = {"service", "method", "message_type", "nested_type", "field", "oneof_decl", "enum_type", "value"}
"""Fields of descriptors that hold what must be explained."""

LIMITS = {
    "Item.id": "1 to 128 characters",
    "Item.title": "at most 1,024 characters",
    "Item.description": "at most 16,384 characters",
    "Item.categories": "at most 64 ",
    "Item.tags": "at most 64 ",
    "Item.attributes": "at most 128",
    "User.id": "1 to 128 characters",
    "Event.event_id": "at most 128 characters",
    "Event.item_id": "1 to 128 characters",
    "Event.properties": "at most 64 ",
    "Event.time": "5 minutes in the future",
    "RecommendRequest.placement": "1 to 128 characters",
    "RecommendRequest.item_ids": "at most 100",
    "RecommendRequest.candidate_item_ids": "at most 1,000",
    "RecommendRequest.exclude_item_ids": "at most 1,000",
    "RecommendRequest.query": "at most 256 characters",
    "RecommendRequest.page_size": "above 100 are lowered to 100",
    "RecommendRequest.page_token": "24 hours",
    "RecommendRequest.filter": "at most 4,096 characters",
    "RecommendRequest.context": "at most 32, names of at most 64 characters and values of at most 256",
    "RecommendRequest.request_id": "at most 128 characters",
    "RecommendRequest.item_fields": "at most 256 paths",
    "BatchRecommendRequest.requests": "1 to 1,000",
    "RecordEventsRequest.events": "1 to 1,000",
    "BatchUpsertItemsRequest.items": "1 to 1,000",
    "BatchUpsertUsersRequest.users": "1 to 1,000",
}
"""What the comment of a field says; the server holds the same table."""


@pytest.fixture(scope="module")
def files() -> list[FileDescriptorProto]:
    command = (BUF, "build", "--output", "-#format=binpb")
    image = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True).stdout
    return [file for file in FileDescriptorSet.FromString(image).file if file.package == "endcap.v1"]


@pytest.fixture(scope="module")
def comments(files: list[FileDescriptorProto]) -> dict[str, str]:
    """The comment of every element, on one line, by its name in the package."""
    return {name: comment for file in files for name, comment in explained(file)}


def test_every_element_is_explained_in_sentences(comments: dict[str, str]) -> None:
    unfinished = [name for name, comment in comments.items() if not re.search(r"[.:]$", comment)]

    assert len(comments) > 500
    assert unfinished == []


@pytest.mark.parametrize(("field", "limit"), LIMITS.items())
def test_the_limit_of_a_field_is_in_its_comment(comments: dict[str, str], field: str, limit: str) -> None:
    assert limit in comments[field]


def test_every_request_has_an_identifier_for_logs(files: list[FileDescriptorProto]) -> None:
    nameless = {
        message.name
        for file in files
        for message in file.message_type
        if message.name.endswith("Request") and "request_id" not in {field.name for field in message.field}
    }

    # It wraps a request that has one.
    assert nameless == {"StreamRecommendRequest"}


def test_every_method_states_the_role_that_its_caller_needs() -> None:
    names = [module.name for module in pkgutil.iter_modules(endcap.v1.__path__)]
    roles = {
        method.full_name: Role.Name(method.GetOptions().Extensions[required_role])
        for name in names
        if name.endswith("_service_pb2")
        for service in import_module(f"endcap.v1.{name}").DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }

    assert [name for name, role in roles.items() if role == "ROLE_UNSPECIFIED"] == []
    assert roles["endcap.v1.RecommendationService.Recommend"] == "ROLE_SERVE"
    assert roles["endcap.v1.EventService.RecordEvents"] == "ROLE_INGEST"
    assert roles["endcap.v1.PlacementService.ListPlacements"] == "ROLE_READ"
    assert roles["endcap.v1.PlacementService.UpdatePlacement"] == "ROLE_EDIT"
    assert roles["endcap.v1.CatalogService.DeleteUser"] == "ROLE_ADMIN"


def test_every_list_has_pages(files: list[FileDescriptorProto]) -> None:
    pageless = {
        message.name
        for file in files
        for message in file.message_type
        if message.name.startswith("List")
        and message.name.endswith("Request")
        and not {"page_size", "page_token"} <= {field.name for field in message.field}
    }

    # What is installed on a server is a short list.
    assert pageless == {"ListStrategiesRequest"}


def test_the_shop_is_in_no_message_but_those_that_are_about_shops(files: list[FileDescriptorProto]) -> None:
    others = [file for file in files if not file.name.endswith(("/shop.proto", "/shop_service.proto"))]
    fields = {field.name for file in others for message in file.message_type for field in message.field}

    assert not {"shop", "shop_id", "tenant"} & fields


def test_the_generated_code_is_fresh() -> None:
    run(sys.executable, "protos/generate.py", "--check")


def test_a_stale_file_is_named_and_generation_mends_it(tmp_path: Path) -> None:
    generator = tmp_path / "generate.py"
    generator.write_bytes((REPOSITORY / "protos" / "generate.py").read_bytes())
    package = tmp_path / "endcap" / "v1"
    package.mkdir(parents=True)
    proto = 'syntax = "proto3"; package endcap.v1; message Mug {} service MugService {}'
    (package / "mug_service.proto").write_text(proto)
    (package / "kettle_pb2.py").write_text("# its .proto file is gone")

    stale = generate(generator, "--check")
    generate(generator)
    fresh = generate(generator, "--check")

    assert stale.returncode == 1
    assert "endcap/v1/kettle_pb2.py is stale: run 'make protos'" in stale.stderr
    assert "endcap/v1/mug_service_pb2.py is stale" in stale.stderr
    assert (fresh.returncode, fresh.stderr) == (0, "")
    assert not (package / "kettle_pb2.py").exists()


def test_the_linter_finds_nothing() -> None:
    run(BUF, "lint")


def test_nothing_breaks_the_baseline() -> None:
    run(BUF, "breaking", "--against", "protos/baseline.binpb")


def generate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a copy of the generator."""
    return subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)


def run(*command: str | Path) -> None:
    """Run a command in the repository; what it prints explains a failure."""
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def explained(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Yield the name and the comment of each element of a file; an empty one where there is none."""
    for location in file.source_code_info.location:
        names = element(file, location.path)
        if names:
            yield ".".join(names), " ".join(location.leading_comments.split())


def element(file: Message, path: Sequence[int]) -> list[str]:
    """Return the names on the way to the element that a path leads to; none when it leads elsewhere.

    A path names fields of descriptors by number, and places in them: (4, 0, 2, 3) is the fourth field
    of the first message.
    """
    names = []
    node = file
    for number, place in zip(path[::2], path[1::2], strict=False):
        field = node.DESCRIPTOR.fields_by_number[number]
        if field.name not in ELEMENTS:
            return []
        node = getattr(node, field.name)[place]
        names.append(node.name)
    return names if len(path) % 2 == 0 else []
