"""The command ``endcap serve``."""

import logging

import structlog

from endcap.catalog.database.migration import migrate
from endcap.server.app import Application
from endcap.server.commands.terminal import run
from endcap.server.process import give_back_large_blocks
from endcap.server.settings import read_settings


def serve() -> None:
    """Serve over gRPC until SIGTERM; settings come from the environment, ENDCAP_*."""
    give_back_large_blocks()
    run(_serve())


def configure_log(level: str) -> None:
    """Log to standard output, one JSON object a line, whatever the texts in it hold.

    Args:
        level: The least severe event that is logged, as in the settings.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    )


async def _serve() -> None:
    settings = read_settings()
    configure_log(settings.log_level)
    await migrate(settings.database_url)
    await Application(settings).run()
