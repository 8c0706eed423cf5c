"""All users' answers, asked of a running server one after the other and written as Parquet files."""

from collections import Counter, deque
from collections.abc import AsyncIterator
from itertools import count as count_from
from pathlib import Path
from typing import TypeAlias

import grpc
import polars as pl
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from endcap.catalog.database.engine import Database
from endcap.catalog.people.users import count_users, list_user_ids
from endcap.client import AsyncClient, Options
from endcap.sdk.errors import FailedPrecondition, Unavailable
from endcap.sdk.publish import publish
from endcap.server.commands.terminal import call_error, opened_database
from endcap.v1.recommendation_service_pb2 import (
    RecommendOutcome,
    RecommendRequest,
    RecommendResponse,
    StreamRecommendRequest,
)


_USERS_A_READ = 1_000
_ROWS_A_FILE = 500_000
_DAY = 86_400.0  # seconds: the longest that all users may take

_Row: TypeAlias = tuple[str, int, str, float, str, str, bool]
_COLUMNS = pl.Schema(
    {
        "user_id": pl.String(),
        "position": pl.Int32(),
        "item_id": pl.String(),
        "score": pl.Float32(),
        "strategy": pl.String(),
        "generation": pl.String(),
        "degraded": pl.Boolean(),
    }
)


async def recommend_all(request: RecommendRequest, *, shop: str, address: str, folder: Path) -> None:
    """Write the recommendations of every user of a shop; the folder appears whole or not at all.

    Args:
        request: The request for each user; its user is filled in.
        shop: The shop's id.
        address: Where the server listens.
        folder: The folder to create.

    Raises:
        InvalidInput: The request is invalid for every user.
        FailedPrecondition: No user got an answer.
        Unavailable: The server stopped answering before the last user.
    """
    request.unrecorded = True
    await _check(request, shop, address)
    failed: Counter[str] = Counter()
    degraded: Counter[str] = Counter()
    console = Console()
    try:
        async with opened_database() as database:
            async with database.read() as connection:
                count = await count_users(connection=connection, shop=shop)
            with (
                publish(folder) as staging,
                Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress,
            ):
                bar = progress.add_task("recommending", total=count)
                rows: list[_Row] = []
                files = count_from()
                async for user, outcome in _outcomes(database, request, shop, address):
                    if outcome.HasField("error"):
                        failed[outcome.error.message] += 1
                    degraded.update({part.strategy for part in outcome.response.degradations})
                    rows += _rows(user, outcome.response)
                    if len(rows) >= _ROWS_A_FILE:
                        _write(rows, staging, next(files))
                        rows = []
                    progress.advance(bar)
                _write(rows, staging, next(files))
                if failed and failed.total() >= count:
                    reason, _ = failed.most_common(1)[0]
                    raise FailedPrecondition(
                        f"none of {count} users got an answer, most of them for: {reason}"
                    )
    except grpc.RpcError as error:
        raise Unavailable(f"the server at {address} did not answer to the end: {error.details()}") from error
    console.print(f"{folder}: {count - failed.total()} of {count} users", soft_wrap=True)
    for reason, users in failed.items():
        console.print(f"no answer for {users} users: {reason}", soft_wrap=True)
    for strategy, users in degraded.items():
        console.print(
            f"answered without {strategy or 'a part'} for {users} users: see 'degraded'", soft_wrap=True
        )


async def _check(request: RecommendRequest, shop: str, address: str) -> None:
    """Check that the server accepts such a request, before it is sent for every user."""
    checked = RecommendRequest()
    checked.CopyFrom(request)
    checked.validate_only = True
    async with AsyncClient(address, Options(shop=shop)) as client:
        try:
            await client.recommendations.Recommend(checked)
        except grpc.RpcError as error:
            raise call_error(error, address) from error


async def _outcomes(
    database: Database, request: RecommendRequest, shop: str, address: str
) -> AsyncIterator[tuple[str, RecommendOutcome]]:
    """Stream one request a user to the server, and yield the outcome of each."""
    waiting: deque[str] = deque()

    async def requests() -> AsyncIterator[StreamRecommendRequest]:
        async for user in _users(database, shop):
            one = RecommendRequest()
            one.CopyFrom(request)
            one.user_id = user
            waiting.append(user)
            yield StreamRecommendRequest(request=one)

    async with AsyncClient(address, Options(shop=shop)) as client:
        async for answer in client.recommendations.StreamRecommend(requests(), timeout=_DAY):
            yield waiting.popleft(), answer.outcome


async def _users(database: Database, shop: str) -> AsyncIterator[str]:
    after = ""
    while True:
        async with database.read() as connection:
            users = await list_user_ids(connection=connection, shop=shop, limit=_USERS_A_READ, after=after)
        if not users:
            return
        for user in users:
            yield user
        after = users[-1]


def _rows(user: str, answer: RecommendResponse) -> list[_Row]:
    return [
        (user, position, result.item_id, result.score, result.strategy, answer.generation, answer.degraded)
        for position, result in enumerate(answer.results, start=1)
    ]


def _write(rows: list[_Row], folder: Path, file: int) -> None:
    pl.DataFrame(rows, schema=_COLUMNS, orient="row").write_parquet(folder / f"part-{file:05}.parquet")
