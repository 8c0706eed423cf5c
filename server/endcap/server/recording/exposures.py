"""The record of an answer, as the exposure log takes it."""

import hashlib

import numpy as np

from endcap.catalog.events.exposures import Degradation, ExposedItem, Exposure
from endcap.sdk import Rows
from endcap.server.recommending.answer import RecommendationAnswer
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.serving.state import ShopState


def exposure(
    shop: str, request: RecommendationRequest, answer: RecommendationAnswer, state: ShopState
) -> Exposure:
    """Return the record that a page of an answer was shown."""
    return Exposure(
        shop=shop,
        request_id=request.request_id,
        time=request.time,
        placement=request.placement,
        view=state.view.version,
        bundles={name: model.version for name, model in state.generation.models.items()},
        items=tuple(
            ExposedItem(item.item_id, item.strategy, ",".join(item.bundles)) for item in answer.items
        ),
        user_id=request.user_id or None,
        visitor_id=request.visitor_id or None,
        page=len(request.shown),
        query=request.text,
        language=request.language,
        device=request.context.get("device", ""),
        candidates=candidates_digest(answer.candidates),
        configuration=answer.configuration,
        degraded=(
            *(Degradation(rung.strategy, rung.failure.value) for rung in answer.rungs if rung.failure),
            *(Degradation("", failure.value) for failure in answer.failures),
        ),
    )


def candidates_digest(rows: Rows) -> bytes:
    """Return a hash of 8 bytes of a set of items, the same in every process, whatever their order.

    Args:
        rows: Positions of the items, which never change; each once.
    """
    return hashlib.blake2b(np.sort(rows).astype("<i4").tobytes(), digest_size=8).digest()
