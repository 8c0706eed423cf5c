"""The operator's settings, each an environment variable ``ENDCAP_<NAME>``."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from endcap.sdk.errors import InvalidInput


_PREFIX = "ENDCAP_"
_LAST_PORT = 65_535
_PORT = re.compile(r".+:(\d{1,5})")


class Settings(BaseSettings):
    """The server's settings. Every one has a default that suits one machine."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True)

    address: str = Field(
        "127.0.0.1:50051", description="Host and port to listen on; port 0 takes a free one."
    )

    database_url: str = Field(
        "sqlite:///data/endcap.db",
        description="The catalog database: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
    )

    bundle_store: Path = Field(
        Path("data/trained"), description="Where trainers put bundles; RegisterBundle takes them from here."
    )

    bundles_folder: Path = Field(
        Path("data/bundles"),
        description="Where registered bundles are kept. It belongs to one database: other files are deleted.",
    )

    kept_bundles: int = Field(
        3, ge=2, description="Bundles of each model that served to keep, the active one included."
    )

    default_deadline_seconds: float = Field(
        2.0, gt=0, description="Time a call gets when the client sends no deadline."
    )

    strategy_timeout_seconds: float = Field(
        0.25, gt=0, description="Time one rung of a ladder gets before the next one is asked."
    )

    max_concurrent_calls: int = Field(
        256, gt=0, description="Calls in flight; more are rejected at once with RESOURCE_EXHAUSTED."
    )

    max_batch_size: int = Field(64, gt=0, description="Queries that one run of a strategy answers together.")

    refresh_seconds: float = Field(
        5.0, gt=0, description="How often the server looks for what other processes wrote."
    )

    view_max_age_seconds: float = Field(
        300.0, gt=0, description="How often paid prices are read again, and rejected bundles are tried again."
    )

    prune_seconds: float = Field(
        86_400.0, ge=0, description="How often what shops no longer keep is deleted; 0 for never."
    )

    drain_seconds: float = Field(
        10.0, ge=0, description="Time that calls in flight get to finish after SIGTERM."
    )

    metrics_port: int = Field(
        0, ge=0, le=_LAST_PORT, description="Port of the Prometheus endpoint on 127.0.0.1; 0 for none."
    )

    reflection: bool = Field(False, description="Whether clients may ask the server for its contract.")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is logged."
    )

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str) -> str:
        found = _PORT.fullmatch(address)
        if not address.startswith(("unix:", "unix-abstract:")) and (
            found is None or int(found[1]) > _LAST_PORT
        ):
            raise ValueError("name a host and a port, such as 127.0.0.1:50051")
        return address


def read_settings() -> Settings:
    """Read the environment.

    Raises:
        InvalidInput: A variable has an invalid value for its setting.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = [
            f"{_PREFIX}{str(each['loc'][0]).upper()} is {each['input']!r}: {_sentence(each['msg'])}"
            for each in error.errors()
        ]
        raise InvalidInput("; ".join(wrong)) from None


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
