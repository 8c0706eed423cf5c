"""Filters, pages, batches and streams of Recommend, through the real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.configuration.shops import create_shop
from endcap.catalog.database.engine import open_database
from endcap.catalog.database.migration import migrate
from endcap.catalog.items.items import Item, upsert_items
from endcap.client import AsyncClient
from endcap.sdk.errors import Unavailable
from endcap.server.app import Application
from endcap.server.recommending import lookups
from endcap.server.settings import Settings
from endcap.v1.placement_pb2 import Placement
from endcap.v1.placement_service_pb2 import UpdatePlacementRequest
from endcap.v1.recommendation_pb2 import DEGRADATION_CAUSE_STORE_UNAVAILABLE
from endcap.v1.recommendation_service_pb2 import (
    BatchRecommendRequest,
    RecommendRequest,
    RecommendResponse,
    StreamRecommendRequest,
)
from endcap.v1.rule_pb2 import FatigueRule, Rule


NOW = 1_700_000_000_000
EURO = 1_000_000_000

ITEMS = [
    Item(
        f"item-{number:02}",
        title=f"Item {number}",
        categories=("garden" if number % 2 else "kitchen",),
        price_nanos=number * EURO,
        group_id="pair" if number in {24, 25} else "",
    )
    for number in range(30)
]
"""Thirty items at 0 to 29 euros, of which two are variants of one product; nobody bought any."""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    url = f"sqlite:///{tmp_path / 'endcap.db'}"
    await migrate(url)
    database = await open_database(url)
    async with database.write() as connection:
        await create_shop(connection=connection, shop="default", now=NOW, currency="EUR")
        await upsert_items(connection=connection, shop="default", items=ITEMS, now=NOW)
    await database.close()
    application = Application(Settings(address="127.0.0.1:0", database_url=url, drain_seconds=0.1))
    await application.start()
    async with AsyncClient(f"127.0.0.1:{application.port}") as client:
        yield client
    await application.stop()


def ids(answer: RecommendResponse) -> list[str]:
    return [result.item_id for result in answer.results]


async def test_a_filter_leaves_what_does_not_match_and_fills_the_page_with_what_does(
    client: AsyncClient,
) -> None:
    answer = await client.recommend(
        "home", filter='categories:"garden" AND price >= 10', page_size=5, include_trace=True
    )

    assert ids(answer) == ["item-11", "item-13", "item-15", "item-17", "item-19"]
    removed = {each.name: each.removed_count for each in answer.trace.filters}
    assert removed["request"] == 20
    assert answer.trace.eligible_count == 10


@pytest.mark.parametrize("text", ["price <", "colour = 3", "cost < 5", '"', "x" * 4097])
async def test_a_filter_that_cannot_be_understood_is_rejected(client: AsyncClient, text: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.recommend("home", filter=text)

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_pages_hold_every_item_once_and_the_last_one_says_so(client: AsyncClient) -> None:
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        answer = await client.recommend("home", page_size=8, page_token=token, filter="price < 20")
        pages.append(ids(answer))
        token = answer.next_page_token

    assert [len(page) for page in pages] == [8, 8, 4]
    assert sorted(item for page in pages for item in page) == [f"item-{number:02}" for number in range(20)]


async def test_variants_of_one_product_are_shown_once_over_all_pages(client: AsyncClient) -> None:
    first = await client.recommend("home", page_size=20)
    second = await client.recommend("home", page_size=20, page_token=first.next_page_token)

    shown = ids(first) + ids(second)
    assert len(shown) == len(set(shown)) == 29
    assert len({"item-24", "item-25"} & set(shown)) == 1
    assert not second.next_page_token


@pytest.mark.parametrize(
    "other",
    [
        RecommendRequest(placement="home", filter="price < 9"),
        RecommendRequest(placement="home", user_id="ann"),
        RecommendRequest(placement="trending"),
    ],
)
async def test_a_page_token_goes_on_with_its_own_request_only(
    client: AsyncClient, other: RecommendRequest
) -> None:
    first = await client.recommend("home", page_size=5)
    other.page_token = first.next_page_token

    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.recommendations.Recommend(other)

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "page_token" in str(rejected.value.details())


async def test_each_request_of_a_batch_fails_or_succeeds_alone(client: AsyncClient) -> None:
    requests = [
        RecommendRequest(placement="home", page_size=2),
        RecommendRequest(placement="nowhere"),
        RecommendRequest(placement="home", page_size=-1),
        RecommendRequest(placement="home", page_size=3, request_id="own"),
    ]

    answer = await client.recommendations.BatchRecommend(
        BatchRecommendRequest(requests=requests, request_id="nightly")
    )

    assert [outcome.WhichOneof("outcome") for outcome in answer.outcomes] == [
        "response",
        "error",
        "error",
        "response",
    ]
    assert ids(answer.outcomes[0].response) == ["item-00", "item-01"]
    assert answer.outcomes[0].response.request_id == "nightly/0"
    assert answer.outcomes[3].response.request_id == "own"
    missing, negative = answer.outcomes[1].error, answer.outcomes[2].error
    assert missing.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert (negative.code, negative.field) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "page_size")


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_batch_has_a_least_and_a_largest_size(client: AsyncClient, count: int) -> None:
    requests = [RecommendRequest(placement="home")] * count

    with pytest.raises(grpc.aio.AioRpcError) as rejected:
        await client.recommendations.BatchRecommend(BatchRecommendRequest(requests=requests))

    assert rejected.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_is_answered_in_order_and_survives_a_request_that_fails(client: AsyncClient) -> None:
    async def requests() -> AsyncIterator[StreamRecommendRequest]:
        for number in range(300):
            placement = "nowhere" if number == 7 else "home"
            yield StreamRecommendRequest(
                request=RecommendRequest(placement=placement, page_size=1 + number % 3)
            )

    answers = [answer async for answer in client.recommendations.StreamRecommend(requests())]

    assert [answer.index for answer in answers] == list(range(300))
    assert answers[7].outcome.error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert [len(answer.outcome.response.results) for answer in answers[8:11]] == [3, 1, 2]


async def test_a_stream_answers_while_it_is_still_being_sent(client: AsyncClient) -> None:
    answered = asyncio.Event()

    async def requests() -> AsyncIterator[StreamRecommendRequest]:
        yield StreamRecommendRequest(request=RecommendRequest(placement="home"))
        await asyncio.wait_for(answered.wait(), 10)
        yield StreamRecommendRequest(request=RecommendRequest(placement="trending"))

    count = 0
    async for _ in client.recommendations.StreamRecommend(requests()):
        count += 1
        answered.set()

    assert count == 2


async def test_a_search_shows_what_matches_best_first_and_nothing_else(client: AsyncClient) -> None:
    answer = await client.recommend("search", query="items 7", page_size=3, include_trace=True)
    nothing = await client.recommend("search", query="unheard-of")

    assert ids(answer)[0] == "item-07"
    assert answer.results[0].strategy == "search"
    assert not answer.degraded
    assert list(nothing.results) == []


async def test_a_search_goes_on_by_titles_while_the_database_does_not_answer(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(**_arguments: object) -> None:
        raise Unavailable("the database is gone")

    monkeypatch.setattr(lookups, "search_items", unavailable)

    answer = await client.recommend("search", query="item 7", page_size=3)

    assert ids(answer)[0] == "item-07"
    assert [part.cause for part in answer.degradations] == [DEGRADATION_CAUSE_STORE_UNAVAILABLE]


async def test_a_search_finds_what_its_filter_lets_through_however_much_matches_better(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One match is looked at, and twenty match better than the last."""
    monkeypatch.setattr(lookups, "MAX_MATCHES", 1)

    answers = [
        await client.recommend("search", query="item", filter=f'id = "{item_id}"')
        for item_id in ("item-00", "item-11", "item-19")
    ]

    assert [ids(answer) for answer in answers] == [["item-00"], ["item-11"], ["item-19"]]


async def test_a_search_is_filtered_and_paged(client: AsyncClient) -> None:
    pages: list[list[str]] = []
    token = ""
    for _ in range(2):
        answer = await client.recommend(
            "search", query="item", filter="price < 4", page_size=2, page_token=token
        )
        pages.append(ids(answer))
        token = answer.next_page_token

    assert sorted(pages[0] + pages[1]) == ["item-00", "item-01", "item-02", "item-03"]
    assert not token


async def test_what_was_shown_and_not_taken_up_sinks_under_a_fatigue_rule(client: AsyncClient) -> None:
    rule = Rule(name="tired", fatigue=FatigueRule(exposure_count=1, strength=1))
    await client.placements.UpdatePlacement(
        UpdatePlacementRequest(
            placement=Placement(id="home", rules=[rule]), update_mask=FieldMask(paths=["rules"])
        )
    )

    shown: set[str] = set()
    for _ in range(50):  # exposures are written some time after the answer
        answer = await client.recommend("home", visitor_id="eve", page_size=3, include_trace=True)
        shown |= set(ids(answer))
        if len(shown) > 3:
            break
        await asyncio.sleep(0.05)

    assert len(shown) > 3
    assert {each.rule for each in answer.trace.rules} == {"tired"}
    assert ids(await client.recommend("home", visitor_id="adam", page_size=3)) == [
        "item-00",
        "item-01",
        "item-02",
    ]
