"""Recommend requests, answers and traces."""

import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache

from endcap.catalog.exposures import Degradation, ExposedItem, Exposure
from endcap.sdk import CatalogView, Reason
from endcap.sdk.errors import EndcapError, InvalidInput
from endcap.sdk.filters import parse_filter
from endcap.server.answer import RecommendationAnswer, RungOutcome
from endcap.server.failures import Failure
from endcap.server.limits import MAX_PAGE_SIZE, check_id, check_limit
from endcap.server.request import RecommendationRequest
from endcap.server.shops import ShopState
from endcap.server.statuses import code_of
from endcap.v1 import item_pb2, reason_pb2, recommendation_pb2, recommendation_service_pb2, trace_pb2


_MOST_EVIDENCE = 10
_MOST_DROPPED = 100
_REASON_TEXTS = {
    "popular": "Popular with other customers",
    "trending": "Bought more than usual right now",
    "bought_together": "Goes with {}",
    "viewed": "You looked at it",
    "matches_text": "Matches what you typed",
    "buy_again": "Time to buy it again",
    "category_best_seller": "A best seller of its category",
    "on_sale": "Costs less than usual",
    "new": "New in the shop",
    "similar_to": "Similar to {}",
}


def read_request(
    message: recommendation_service_pb2.RecommendRequest,
    *,
    time: int,
    shown: tuple[int, ...] = (),
    request_id: str = "",
) -> RecommendationRequest:
    """Read a Recommend request and check it against the limits.

    Args:
        message: As it came.
        time: Unix milliseconds at which it came in.
        shown: The rows on the pages before, which its token names.
        request_id: Its identifier, where it has none of its own; empty to make one up.

    Raises:
        InvalidInput: A field breaks its limit, or the filter cannot be understood.
    """
    check_id("placement", message.placement)
    for field in ("user_id", "visitor_id", "request_id", "query", "language_code"):
        check_limit(field, getattr(message, field))
    for field in ("item_ids", "candidate_item_ids", "exclude_item_ids"):
        check_limit(field, getattr(message, field))
        for item_id in getattr(message, field):
            check_id("item_id", item_id)
    check_limit("context", message.context)
    for key, value in message.context.items():
        check_limit("context key", key)
        check_limit("context value", value)
    if message.page_size < 0:
        raise InvalidInput("page_size must not be negative; use 0 for the placement's own", field="page_size")
    if message.minimum_revision < 0:
        raise InvalidInput("minimum_revision must not be negative", field="minimum_revision")
    check_limit("filter", message.filter)
    return RecommendationRequest(
        request_id=message.request_id or request_id or uuid.uuid4().hex,
        placement=message.placement,
        time=time,
        user_id=message.user_id,
        visitor_id=message.visitor_id,
        item_ids=tuple(dict.fromkeys(message.item_ids)),
        candidate_item_ids=tuple(dict.fromkeys(message.candidate_item_ids)),
        exclude_item_ids=tuple(message.exclude_item_ids),
        text=message.query,
        filter=_filter(message.filter) if message.filter.strip() else None,
        shown=shown,
        page_size=min(message.page_size, MAX_PAGE_SIZE),
        context=dict(message.context),
        explain=message.include_reasons,
        trace=message.include_trace,
        minimum_revision=message.minimum_revision,
    )


def write_response(
    request: RecommendationRequest,
    answer: RecommendationAnswer,
    state: ShopState,
    *,
    items: Mapping[str, item_pb2.Item],
    revision: int,
    attribution_token: str,
    next_page_token: str,
    trace_milliseconds: float | None,
) -> recommendation_service_pb2.RecommendResponse:
    """Write a Recommend response.

    Args:
        request: What was asked.
        answer: What was found.
        state: What it was made from.
        items: The fields of items that the answer carries, by item id; empty where none are wanted.
        revision: The shop's revision that it knows.
        attribution_token: Names the answer.
        next_page_token: Asks for the next page; empty on the last one.
        trace_milliseconds: Time that the answer took, when the trace is wanted.
    """
    view = state.view
    degradations = [
        recommendation_pb2.Degradation(rung=index, strategy=rung.strategy, cause=_cause(rung.failure))
        for index, rung in enumerate(answer.rungs)
        if rung.failure
    ]
    degradations += [recommendation_pb2.Degradation(cause=_cause(failure)) for failure in answer.failures]
    return recommendation_service_pb2.RecommendResponse(
        results=[
            recommendation_pb2.Recommendation(
                item_id=item.item_id,
                score=item.score,
                reasons=[_reason(reason, view) for reason in item.reasons],
                strategy=item.strategy,
                bundles=item.bundles,
                rung=item.rung,
                item=items.get(item.item_id),
            )
            for item in answer.items
        ],
        attribution_token=attribution_token,
        next_page_token=next_page_token,
        missing_item_ids=answer.missing_item_ids,
        degraded=bool(degradations),
        degradations=degradations,
        view=view.version,
        generation=state.generation.id,
        revision=revision,
        request_id=request.request_id,
        trace=None if trace_milliseconds is None else _trace(answer, view, trace_milliseconds),
    )


def write_error(error: EndcapError) -> recommendation_service_pb2.RecommendError:
    """Write why one request of many has no answer."""
    return recommendation_service_pb2.RecommendError(
        code=code_of(error).value[0],
        reason=error.reason,
        field=error.field if isinstance(error, InvalidInput) else "",
        message=str(error),
    )


def exposure(
    shop: str, request: RecommendationRequest, answer: RecommendationAnswer, state: ShopState
) -> Exposure:
    """Record that an answer was given."""
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
        degraded=(
            *(Degradation(rung.strategy, rung.failure.value) for rung in answer.rungs if rung.failure),
            *(Degradation("", failure.value) for failure in answer.failures),
        ),
    )


# Shops send the same few filters over and over; a filter has at most 4,096 characters.
_filter = lru_cache(maxsize=1024)(parse_filter)


def _cause(failure: Failure) -> "recommendation_pb2.DegradationCause.ValueType":
    return recommendation_pb2.DegradationCause.Value(f"DEGRADATION_CAUSE_{failure.name}")


def _reason(reason: Reason, view: CatalogView) -> reason_pb2.Reason:
    evidence = reason.evidence[:_MOST_EVIDENCE]
    title = view.titles[evidence[0]] if len(evidence) else ""
    words = _REASON_TEXTS.get(reason.kind)
    return reason_pb2.Reason(
        kind=reason.kind,
        evidence=[reason_pb2.Evidence(item_id=view.vocabulary.ids[row]) for row in evidence],
        text=reason.text if words is None else words.format(title),
    )


def _trace(answer: RecommendationAnswer, view: CatalogView, milliseconds: float) -> trace_pb2.Trace:
    return trace_pb2.Trace(
        rungs=[_rung_trace(index, rung) for index, rung in enumerate(answer.rungs)],
        filters=[
            trace_pb2.FilterTrace(name=name, removed_count=count) for name, count in answer.removed.items()
        ],
        rules=[
            trace_pb2.RuleTrace(rule=rule.name, changed_count=rule.changed, detail=rule.detail)
            for rule in answer.rules
        ],
        dropped_items=_dropped(answer.rungs, view),
        eligible_count=answer.eligible,
        history_count=answer.history,
        milliseconds=milliseconds,
    )


def _dropped(rungs: Sequence[RungOutcome], view: CatalogView) -> list[trace_pb2.DroppedItem]:
    return [
        trace_pb2.DroppedItem(item_id=view.vocabulary.ids[row], cause=dropped.cause, rung=index)
        for index, rung in enumerate(rungs)
        for dropped in rung.dropped
        for row in dropped.rows[:_MOST_DROPPED].tolist()
        if 0 <= row < len(view)
    ][:_MOST_DROPPED]


def _rung_trace(index: int, rung: RungOutcome) -> trace_pb2.RungTrace:
    if rung.failure is Failure.SUSPENDED:
        outcome = "SKIPPED"
    elif rung.failure:
        outcome = "FAILED"
    elif rung.used == 0:
        outcome = "EMPTY"
    else:
        outcome = "FILLED" if rung.used == rung.wanted else "SHORT"
    return trace_pb2.RungTrace(
        rung=index,
        strategy=rung.strategy,
        outcome=trace_pb2.RungOutcome.Value(f"RUNG_OUTCOME_{outcome}"),
        detail=rung.detail,
        milliseconds=rung.milliseconds,
        ranked_count=rung.ranked,
        used_count=rung.used,
    )
