"""Recommend requests, answers and traces."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from endcap.catalog.fields.checks import check_language
from endcap.catalog.fields.limits import MAX_PAGE_SIZE, check_id, check_limit, check_text
from endcap.sdk import CatalogView, Reason
from endcap.sdk.errors import EndcapError, InvalidInput
from endcap.sdk.filters import parse_filter
from endcap.server.admin.caller import Caller
from endcap.server.api.statuses import code_of
from endcap.server.recommending.answer import RecommendationAnswer, RungOutcome
from endcap.server.recommending.request import RecommendationRequest
from endcap.server.serving.failures import Failure
from endcap.server.serving.state import ShopState
from endcap.v1 import item_pb2, reason_pb2, recommendation_pb2, recommendation_service_pb2, trace_pb2


_MOST_EVIDENCE = 10
_MOST_DROPPED = 100
_CHANGES = {"filtered", "lifted", "buried", "capped", "placed", "pinned"}  # of what rules count
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
    caller: Caller,
    *,
    shown: tuple[int, ...] = (),
) -> RecommendationRequest:
    """Read a Recommend request and check it against the limits.

    Args:
        message: The request as sent.
        caller: Who asks.
        shown: The rows on the pages before, which its token names.

    Raises:
        InvalidInput: A field breaks its limit, or the filter cannot be understood.
    """
    check_id("placement", message.placement)
    for field in ("user_id", "visitor_id", "query"):
        check_text(field, getattr(message, field))
    check_language(message.language_code, path="language_code")
    for field in ("item_ids", "candidate_item_ids", "exclude_item_ids"):
        check_limit(field, getattr(message, field))
        for item_id in getattr(message, field):
            check_id("item_id", item_id)
    check_limit("context", message.context)
    for key, value in message.context.items():
        check_limit("context key", key)
        check_text("context value", value)
    if message.page_size < 0:
        raise InvalidInput("page_size must not be negative; use 0 for the placement's own", field="page_size")
    if message.minimum_revision < 0:
        raise InvalidInput("minimum_revision must not be negative", field="minimum_revision")
    check_limit("filter", message.filter)
    return RecommendationRequest(
        request_id=caller.request_id,
        placement=message.placement,
        time=caller.time,
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
        language=message.language_code,
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
        answer: The answer to it.
        state: The shop's state that the answer was made from.
        items: The fields of items that the answer carries, by item id; empty where none are wanted.
        revision: The shop's revision that the answer knows.
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
                reasons=_reasons(item.reasons, view),
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


# Shops send the same few filters over and over; a filter has at most 4,096 characters.
_filter = lru_cache(maxsize=1024)(parse_filter)


def _cause(failure: Failure) -> "recommendation_pb2.DegradationCause.ValueType":
    return recommendation_pb2.DegradationCause.Value(f"DEGRADATION_CAUSE_{failure.name}")


def _reasons(reasons: Sequence[Reason], view: CatalogView) -> list[reason_pb2.Reason]:
    """Write reasons without deleted items; one that rests on nothing else is left out."""
    written = []
    for reason in reasons:
        named = reason.evidence[~view.deleted[reason.evidence]]
        if len(named) or not len(reason.evidence):
            written.append(_reason(reason, named[:_MOST_EVIDENCE].tolist(), view))
    return written


def _reason(reason: Reason, evidence: Sequence[int], view: CatalogView) -> reason_pb2.Reason:
    title = view.titles[evidence[0]] if evidence else ""
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
            trace_pb2.RuleTrace(
                rule=rule.name,
                changed_count=sum(count for name, count in rule.counts.items() if name in _CHANGES),
                detail=", ".join(f"{name} {count}" for name, count in rule.counts.items()),
            )
            for rule in answer.rules
        ],
        dropped_items=_dropped(answer, view),
        eligible_count=answer.eligible,
        history_count=answer.history,
        milliseconds=milliseconds,
    )


def _dropped(answer: RecommendationAnswer, view: CatalogView) -> list[trace_pb2.DroppedItem]:
    named = [(None, dropped) for dropped in answer.dropped]
    ranked = [(index, dropped) for index, rung in enumerate(answer.rungs) for dropped in rung.dropped]
    return [
        trace_pb2.DroppedItem(item_id=view.vocabulary.ids[row], cause=dropped.cause, rung=index)
        for index, dropped in (*named, *ranked)
        for row in dropped.rows[:_MOST_DROPPED].tolist()
        if 0 <= row < len(view)
    ][:_MOST_DROPPED]


def _rung_trace(index: int, rung: RungOutcome) -> trace_pb2.RungTrace:
    if rung.skipped or rung.failure is Failure.SUSPENDED:
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
