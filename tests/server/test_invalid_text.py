"""Which text of a message is not UTF-8."""

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from endcap.server.invalid_text import find_invalid_text
from endcap.v1.event_pb2 import Event
from endcap.v1.event_service_pb2 import RecordEventsRequest
from endcap.v1.recommendation_service_pb2 import RecommendRequest


def broken(message: Message) -> bytes:
    """Encode a message, with the bytes of every ``BROKEN`` in it no text any more."""
    encoded = message.SerializeToString().replace(b"BROKEN", b"BR\xffKEN")
    with pytest.raises(DecodeError):
        type(message).FromString(encoded)
    return encoded


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (RecommendRequest(placement="home", user_id="BROKEN"), "user_id"),
        (RecommendRequest(item_ids=["mug", "BROKEN", "BROKEN"]), "item_ids[1]"),
        (RecommendRequest(context={"device": "BROKEN"}), "context.value"),
        (RecordEventsRequest(events=[Event(), Event(item_id="BROKEN")]), "events[1].item_id"),
        (RecordEventsRequest(events=[Event(user_id="ä", value=1.5)], request_id="BROKEN"), "request_id"),
    ],
)
def test_the_first_broken_text_is_named_by_its_path(message: Any, path: str) -> None:
    assert find_invalid_text(broken(message), message.DESCRIPTOR) == path


def test_messages_may_be_as_deep_as_protobuf_reads_and_no_deeper() -> None:
    def nested(levels: int) -> bytes:
        """Nest ``nested_type`` of ``DescriptorProto``, field 3, around a broken ``name``, field 1."""
        message = b"\x0a\x01\xff"
        for _ in range(levels):
            length = len(message)
            message = b"\x1a" + bytes([length & 0x7F | 0x80, length >> 7]) + message
        return message

    descriptor = FileDescriptorSet.DESCRIPTOR.file.message_types_by_name["DescriptorProto"]

    assert find_invalid_text(nested(50), descriptor) == "nested_type[0]." * 50 + "name"
    assert find_invalid_text(nested(2_000), descriptor) == ""


def test_a_message_of_very_many_fields_is_not_searched_to_its_end() -> None:
    message = RecommendRequest(item_ids=["x"] * 10_000, user_id="BROKEN")
    encoded = broken(RecommendRequest(user_id="BROKEN"))

    assert find_invalid_text(message.SerializeToString() + encoded, message.DESCRIPTOR) == ""
    assert find_invalid_text(encoded + message.SerializeToString(), message.DESCRIPTOR) == "user_id"


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_name_nothing_and_raise_nothing(message: bytes) -> None:
    path = find_invalid_text(message, RecordEventsRequest.DESCRIPTOR)

    if path:
        with pytest.raises(DecodeError):
            RecordEventsRequest.FromString(message)
