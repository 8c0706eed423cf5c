"""Recommends items."""

import time

from endcap.catalog.exposures import ExposureLog
from endcap.server import tokens
from endcap.server.convert import recommendations
from endcap.server.interceptors import Context, current_call
from endcap.server.pipeline import Pipeline
from endcap.server.shops import Shops
from endcap.v1 import recommendation_service_pb2 as pb
from endcap.v1.recommendation_service_pb2_grpc import RecommendationServiceServicer


class RecommendationServicer(RecommendationServiceServicer):
    """Answers the calls of ``RecommendationService``; the methods that are not here are not built yet."""

    def __init__(self, shops: Shops, pipeline: Pipeline, exposures: ExposureLog) -> None:
        self._shops = shops
        self._pipeline = pipeline
        self._exposures = exposures

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> pb.RecommendResponse:
        """Answer one Recommend call."""
        call = current_call.get()
        started = time.monotonic()
        shop = self._shops.get(call.shop)
        asked = recommendations.read_request(request, time=call.time)
        if asked.minimum_revision > shop.revision:
            await self._shops.reach(shop, asked.minimum_revision, (started + call.deadline) / 2)
        state = shop.state
        if request.validate_only:
            self._pipeline.validate(asked, state)
            return pb.RecommendResponse(request_id=asked.request_id)
        answer = await self._pipeline.recommend(asked, shop, state, call.deadline)
        token = tokens.sign(
            shop.token_key,
            tokens.ATTRIBUTION,
            {"request": asked.request_id, "placement": asked.placement, "time": asked.time},
        )
        self._exposures.record(recommendations.exposure(shop.id, asked, answer, state))
        return recommendations.write_response(
            asked,
            answer,
            state,
            revision=shop.revision,
            attribution_token=token,
            trace_milliseconds=(time.monotonic() - started) * 1000 if request.include_trace else None,
        )
