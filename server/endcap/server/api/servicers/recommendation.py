"""Recommends items."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from endcap.catalog.events.exposure_log import ExposureLog
from endcap.catalog.events.exposures import unit_digest
from endcap.sdk.errors import EndcapError, PageOutOfRange
from endcap.server.admin.caller import Caller
from endcap.server.api.call import RpcContext, current_caller, identified
from endcap.server.api.convert import recommendations
from endcap.server.api.convert.fields import required
from endcap.server.api.convert.item_fields import ItemFields
from endcap.server.api.paging import page_token, read_page_token, request_digest
from endcap.server.api.statuses import known_error
from endcap.server.recommending.pipeline import MAX_SHOWN, Pipeline
from endcap.server.recording.attribution import attribution_token
from endcap.server.recording.exposures import exposure
from endcap.server.recording.row_set import decode_rows, encode_rows
from endcap.server.serving.failures import Failure
from endcap.server.serving.shops import Shops
from endcap.server.serving.state import ServedShop
from endcap.v1 import item_pb2
from endcap.v1 import recommendation_service_pb2 as pb
from endcap.v1.recommendation_service_pb2_grpc import RecommendationServiceServicer


MAX_TOGETHER = 128
"""Requests of one batch or stream that are answered at the same time."""

_MAY_DIFFER = (
    "page_token",
    "page_size",
    "item_fields",
    "include_reasons",
    "include_trace",
    "minimum_revision",
    "request_id",
)
"""Fields that may differ from page to page of one answer."""


class RecommendationServicer(RecommendationServiceServicer):
    """Answers the calls of ``RecommendationService``."""

    def __init__(
        self, shops: Shops, pipeline: Pipeline, exposures: ExposureLog, *, seconds_per_request: float
    ) -> None:
        self._shops = shops
        self._pipeline = pipeline
        # Requests of a batch wait for one another: a rung that is merely busy with them has not failed.
        self._batch_pipeline = replace(pipeline, rung_timeout=seconds_per_request / 2)
        self._exposures = exposures
        self._seconds_per_request = seconds_per_request

    async def Recommend(self, request: pb.RecommendRequest, context: RpcContext) -> pb.RecommendResponse:
        """Answer one request."""
        return await self._answer(request, current_caller.get(), self._pipeline)

    async def BatchRecommend(
        self, request: pb.BatchRecommendRequest, context: RpcContext
    ) -> pb.BatchRecommendResponse:
        """Answer many requests; each fails or succeeds alone."""
        caller = current_caller.get()
        required("requests", request.requests)
        slots = asyncio.Semaphore(MAX_TOGETHER)

        async def answer(index: int, each: pb.RecommendRequest) -> pb.RecommendOutcome:
            async with slots:
                return await self._outcome(each, caller, f"{caller.request_id}/{index}")

        return pb.BatchRecommendResponse(
            outcomes=await asyncio.gather(*(answer(*each) for each in enumerate(request.requests))),
            request_id=caller.request_id,
        )

    async def StreamRecommend(
        self, requests: AsyncIterator[pb.StreamRecommendRequest], context: RpcContext
    ) -> AsyncIterator[pb.StreamRecommendResponse]:
        """Answer requests as they come, in their order; one that fails does not end the stream."""
        caller = current_caller.get()
        answers: asyncio.Queue[asyncio.Task[pb.RecommendOutcome] | EndcapError | None]
        answers = asyncio.Queue(MAX_TOGETHER)

        async def start_all(group: asyncio.TaskGroup) -> None:
            index = 0
            try:
                async for each in requests:
                    now = replace(caller, time=int(time.time() * 1000))
                    outcome = self._outcome(each.request, now, f"{caller.request_id}/{index}")
                    await answers.put(group.create_task(outcome))
                    index += 1
            except EndcapError as error:  # of a message that cannot be read
                await answers.put(error)
            else:
                await answers.put(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(start_all(group))
            index, unreadable = 0, None
            while (answer := await answers.get()) is not None:
                if isinstance(answer, EndcapError):
                    unreadable = answer
                    break
                yield pb.StreamRecommendResponse(index=index, outcome=await answer)
                index += 1
        if unreadable is not None:
            raise unreadable

    async def _outcome(
        self, request: pb.RecommendRequest, caller: Caller, request_id: str
    ) -> pb.RecommendOutcome:
        """Answer one request of many; an error becomes its outcome."""
        deadline = min(caller.deadline, time.monotonic() + self._seconds_per_request)
        try:
            caller = identified(replace(caller, deadline=deadline), request, default=request_id)
            return pb.RecommendOutcome(response=await self._answer(request, caller, self._batch_pipeline))
        except Exception as error:  # noqa: BLE001 - as the interceptor does for a single call
            return pb.RecommendOutcome(error=recommendations.write_error(known_error(error, "Recommend")))

    async def _answer(
        self, request: pb.RecommendRequest, caller: Caller, pipeline: Pipeline
    ) -> pb.RecommendResponse:
        started = time.monotonic()
        shop = self._shops.get(caller.shop)
        asked = recommendations.read_request(
            request,
            caller,
            shown=_shown(request, shop, caller.time) if request.page_token else (),
        )
        item_fields = None
        if request.item_fields.paths:
            item_fields = ItemFields.read(request.item_fields, request.language_code)
        if asked.minimum_revision and asked.minimum_revision > shop.revision:
            await self._shops.reach(shop, asked.minimum_revision, caller.deadline)
        state = shop.state
        revision = state.histories.revision
        if caller.validate_only:
            pipeline.validate(asked, state)
            return pb.RecommendResponse(request_id=asked.request_id)
        answer = await pipeline.recommend(asked, shop, state, caller.deadline)
        items: dict[str, item_pb2.Item] = {}
        if item_fields is not None:
            rows = [item.row for item in answer.items]
            found = await pipeline.lookups.items(
                shop.id, state.view, rows, columns=item_fields.columns, deadline=caller.deadline
            )
            if found.failed:
                answer = answer.with_failure(Failure.STORE_UNAVAILABLE)
            items = item_fields.write(found.items, currency=state.view.currency)
        next_page_token = ""
        if answer.has_more:
            shown = encode_rows([*asked.shown, *(item.row for item in answer.items)])
            digest = request_digest(request, _MAY_DIFFER)
            next_page_token = page_token(shop.token_key, digest, {"shown": shown}, asked.time)
        token = ""
        if not request.unrecorded:
            token = attribution_token(
                shop.token_key,
                request_id=asked.request_id,
                placement=asked.placement,
                time=asked.time,
                unit=unit_digest(shop.token_key, asked.user_id, asked.visitor_id),
                item_ids=[item.item_id for item in answer.items],
            )
        response = recommendations.write_response(
            asked,
            answer,
            state,
            items=items,
            revision=revision,
            attribution_token=token,
            next_page_token=next_page_token,
            trace_milliseconds=(time.monotonic() - started) * 1000 if request.include_trace else None,
        )
        if not request.unrecorded:
            self._exposures.record(exposure(shop.id, asked, answer, state))
        return response


def _shown(request: pb.RecommendRequest, shop: ServedShop, now: int) -> tuple[int, ...]:
    """Return the rows on the pages before."""
    digest = request_digest(request, _MAY_DIFFER)
    shown = decode_rows(read_page_token(shop.token_key, digest, request.page_token, now)["shown"])
    if len(shown) >= MAX_SHOWN:
        raise PageOutOfRange(
            f"pages end at {MAX_SHOWN} items: start again, or narrow the request with a filter"
        )
    return shown
