"""The options of both clients, and the channel arguments that follow from them."""

import json
from dataclasses import dataclass
from typing import Any

import grpc

from endcap.v1 import (
    catalog_service_pb2,
    event_service_pb2,
    model_service_pb2,
    placement_service_pb2,
    recommendation_service_pb2,
    strategy_service_pb2,
)


_FILES = (
    recommendation_service_pb2,
    event_service_pb2,
    catalog_service_pb2,
    placement_service_pb2,
    model_service_pb2,
    strategy_service_pb2,
)
_IDEMPOTENT = ("Get", "List", "BatchGet", "Recommend", "BatchRecommend", "RecordEvents")
"""The prefixes of methods that may be called twice: reads, and events, which have identifiers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a client.

    Raises:
        ValueError: A value is out of range.
    """

    shop: str = "default"
    """The shop that all calls are about."""

    deadline: float = 2.0
    """Seconds that a call may take, retries included, when it is given no timeout of its own."""

    stream_deadline: float = 600.0
    """The same for a streamed call."""

    attempts: int = 3
    """The number of tries of a call that finds no server, 1 to 5."""

    keepalive: float = 5.0
    """Seconds of silence after which the server is asked whether it lives; more than it forbids."""

    keepalive_timeout: float = 2.0
    """Seconds that its answer may take before the connection counts as dead."""

    token: str = ""
    """Bearer token sent with every call; send none over plaintext that leaves the machine."""

    credentials: grpc.ChannelCredentials | None = None
    """TLS, as ``grpc.ssl_channel_credentials`` makes it; None for plaintext."""

    def __post_init__(self) -> None:
        if min(self.deadline, self.stream_deadline, self.keepalive, self.keepalive_timeout) <= 0:
            raise ValueError("deadlines and keepalive times must be above 0 seconds")
        if not 1 <= self.attempts <= 5:
            raise ValueError(f"attempts must be from 1 to 5, not {self.attempts}")

    def channel_arguments(self) -> list[tuple[str, Any]]:
        """Return the arguments of a gRPC channel that keeps these promises."""
        timeout = round(self.keepalive_timeout * 1000)
        return [
            ("grpc.keepalive_time_ms", round(self.keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", timeout),
            # A server that is stopped but keeps its socket is found by this timeout alone.
            ("grpc.http2.ping_timeout_ms", timeout),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            # The defaults give a connection 20 seconds, and wait up to two minutes before the next one.
            ("grpc.min_reconnect_backoff_ms", 2000),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5000),
            ("grpc.service_config", json.dumps(self._service_config())),
        ]

    def _service_config(self) -> dict[str, Any]:
        if self.attempts == 1:
            return {}
        return {
            "methodConfig": [
                {
                    "name": [
                        {"service": service.full_name, "method": method.name}
                        for file in _FILES
                        for service in file.DESCRIPTOR.services_by_name.values()
                        for method in service.methods
                        if method.name.startswith(_IDEMPOTENT)
                    ],
                    "retryPolicy": {
                        "maxAttempts": self.attempts,
                        # gRPC spreads each wait at random around these.
                        "initialBackoff": "0.05s",
                        "maxBackoff": "0.5s",
                        "backoffMultiplier": 2,
                        # A server that sheds load answers RESOURCE_EXHAUSTED, which must not be repeated.
                        "retryableStatusCodes": ["UNAVAILABLE"],
                    },
                }
            ],
            # Retries end while most calls fail, so that they never feed an outage.
            "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        }
