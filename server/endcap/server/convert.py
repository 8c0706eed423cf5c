"""Protobuf to the platform's values and back: the only file that knows both."""

import math
import uuid
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from endcap.catalog.events import Event
from endcap.catalog.exposures import Degradation, ExposedItem, Exposure
from endcap.catalog.items import Availability, Item
from endcap.sdk import CatalogView, Reason
from endcap.sdk.errors import InvalidInput, Unsupported
from endcap.server.limits import (
    MAX_EVENT_LEAD_SECONDS,
    MAX_PAGE_SIZE,
    check_id,
    check_limit,
)
from endcap.server.request import (
    Failure,
    RecommendationAnswer,
    RecommendationRequest,
    RungOutcome,
)
from endcap.server.shops import ShopState
from endcap.v1 import (
    event_pb2,
    item_pb2,
    reason_pb2,
    recommendation_pb2,
    recommendation_service_pb2,
    trace_pb2,
)


NANOS = 1_000_000_000
_MOST_EVIDENCE = 10
_MOST_DROPPED = 100
_REASON_TEXTS = {
    "popular": "Popular with other customers",
    "trending": "Bought more than usual right now",
    "bought_together": "Goes with {}",
    "viewed": "You looked at it",
}


def recommendation_request(
    message: recommendation_service_pb2.RecommendRequest, *, time: int
) -> RecommendationRequest:
    """Read a Recommend request and check it against the limits.

    Args:
        message: As it came.
        time: Unix milliseconds at which it came in.

    Raises:
        InvalidInput: A field breaks its limit.
        Unsupported: A field asks for what this release cannot do.
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
    if message.filter:
        raise Unsupported("this release has no filters yet: leave filter empty")
    if message.page_token:
        raise Unsupported("this release has no further pages yet: leave page_token empty")
    return RecommendationRequest(
        request_id=message.request_id or uuid.uuid4().hex,
        placement=message.placement,
        time=time,
        user_id=message.user_id,
        visitor_id=message.visitor_id,
        item_ids=tuple(dict.fromkeys(message.item_ids)),
        candidate_item_ids=tuple(dict.fromkeys(message.candidate_item_ids)),
        exclude_item_ids=tuple(message.exclude_item_ids),
        text=message.query,
        page_size=min(message.page_size, MAX_PAGE_SIZE),
        context=dict(message.context),
        explain=message.include_reasons,
        minimum_revision=message.minimum_revision,
    )


def recommendation_response(
    request: RecommendationRequest,
    answer: RecommendationAnswer,
    state: ShopState,
    *,
    revision: int,
    attribution_token: str,
    trace_milliseconds: float | None,
) -> recommendation_service_pb2.RecommendResponse:
    """Write a Recommend response.

    Args:
        request: What was asked.
        answer: What was found.
        state: What it was made from.
        revision: The shop's revision that it knows.
        attribution_token: Names the answer.
        trace_milliseconds: Time that the answer took, when the trace is wanted.
    """
    view = state.view
    degradations = [
        recommendation_pb2.Degradation(rung=index, strategy=rung.strategy, cause=_cause(rung.failure))
        for index, rung in enumerate(answer.rungs)
        if rung.failure
    ]
    if answer.stale:
        degradations.append(recommendation_pb2.Degradation(cause=_cause(Failure.STALE)))
    return recommendation_service_pb2.RecommendResponse(
        results=[
            recommendation_pb2.Recommendation(
                item_id=item.item_id,
                score=item.score,
                reasons=[_reason(reason, view) for reason in item.reasons],
                strategy=item.strategy,
                bundles=item.bundles,
                rung=item.rung,
            )
            for item in answer.items
        ],
        attribution_token=attribution_token,
        missing_item_ids=answer.missing_item_ids,
        degraded=bool(degradations),
        degradations=degradations,
        view=view.version,
        generation=state.generation.id,
        revision=revision,
        request_id=request.request_id,
        trace=None if trace_milliseconds is None else _trace(answer, view, trace_milliseconds),
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
        degraded=tuple(
            Degradation(rung.strategy, rung.failure.value) for rung in answer.rungs if rung.failure
        ),
    )


def event(message: event_pb2.Event, *, now: int) -> Event:
    """Read an event and check it.

    Args:
        message: As it came.
        now: Unix milliseconds; the time of an event that names none.

    Raises:
        InvalidInput: A field is missing, too long, or no number.
    """
    for field in ("event_id", "type", "item_id"):
        check_id(field, getattr(message, field))
    for field in ("user_id", "visitor_id", "attribution_token"):
        check_limit(field, getattr(message, field))
    if not message.user_id and not message.visitor_id:
        raise InvalidInput("an event needs a user_id or a visitor_id", field="visitor_id")
    if not math.isfinite(message.quantity) or message.quantity < 0:
        raise InvalidInput("quantity must be a number, 0 or more", field="quantity")
    if not math.isfinite(message.value):
        raise InvalidInput("value must be a number", field="value")
    check_limit("properties", message.properties)
    time = _milliseconds(message.time) if message.HasField("time") else now
    if time > now + MAX_EVENT_LEAD_SECONDS * 1000:
        raise InvalidInput(
            f"time lies more than {MAX_EVENT_LEAD_SECONDS} seconds in the future", field="time"
        )
    has_price = message.HasField("price")
    return Event(
        event_id=message.event_id,
        type=message.type,
        item_id=message.item_id,
        time=time,
        user_id=message.user_id or None,
        visitor_id=message.visitor_id or None,
        quantity=message.quantity or 1.0,
        price_nanos=message.price.units * NANOS + message.price.nanos if has_price else None,
        currency=message.price.currency_code if has_price else "",
        value=message.value if message.HasField("value") else None,
        attribution_token=message.attribution_token,
        order_id=message.order_id,
        properties={key: _attribute(value) for key, value in message.properties.items()},
        time_is_given=message.HasField("time"),
    )


def item(value: Item) -> item_pb2.Item:
    """Write an item for a shop front: everything but its cost."""
    message = item_pb2.Item(
        id=value.id,
        group_id=value.group_id,
        title=value.title,
        description=value.description,
        language_code=value.language_code,
        categories=value.categories,
        brand=value.brand,
        tags=value.tags,
        image_uris=value.image_uris,
        availability=_availability(value.availability),
        etag=value.etag,
    )
    for field, nanos in (("price", value.price_nanos), ("original_price", value.original_price_nanos)):
        if nanos is not None:
            money = getattr(message, field)
            money.units, money.nanos = divmod(nanos, NANOS)
            money.currency_code = value.currency
    if value.created_time is not None:
        message.create_time.FromMilliseconds(value.created_time)
    message.update_time.FromMilliseconds(value.updated_time)
    return message


def _availability(value: Availability) -> "item_pb2.Availability.ValueType":
    return item_pb2.Availability.Value(f"AVAILABILITY_{value.name}")


def _cause(failure: Failure) -> "recommendation_pb2.DegradationCause.ValueType":
    return recommendation_pb2.DegradationCause.Value(f"DEGRADATION_CAUSE_{failure.name}")


def _milliseconds(time: Timestamp) -> int:
    return time.seconds * 1000 + time.nanos // 1_000_000


def _attribute(value: object) -> object:
    kind = value.WhichOneof("value")  # type: ignore[attr-defined]
    content = getattr(value, kind) if kind else None
    values = getattr(content, "values", None)
    return content if values is None else list(values)


def _reason(reason: Reason, view: CatalogView) -> reason_pb2.Reason:
    evidence = reason.evidence[:_MOST_EVIDENCE]
    title = view.titles[evidence[0]] if len(evidence) else ""
    return reason_pb2.Reason(
        kind=reason.kind,
        item_ids=[view.vocabulary.ids[row] for row in evidence],
        text=_REASON_TEXTS.get(reason.kind, "").format(title),
    )


def _trace(answer: RecommendationAnswer, view: CatalogView, milliseconds: float) -> trace_pb2.Trace:
    return trace_pb2.Trace(
        rungs=[_rung_trace(index, rung) for index, rung in enumerate(answer.rungs)],
        filters=[
            trace_pb2.FilterTrace(name=name, removed_count=count) for name, count in answer.removed.items()
        ],
        dropped_items=_dropped(answer.rungs, view),
        eligible_count=answer.eligible,
        history_count=answer.history,
        milliseconds=milliseconds,
    )


def _dropped(rungs: Sequence[RungOutcome], view: CatalogView) -> list[trace_pb2.DroppedItem]:
    return [
        trace_pb2.DroppedItem(item_id=view.vocabulary.ids[item.row], cause=item.cause, rung=index)
        for index, rung in enumerate(rungs)
        for item in rung.dropped
        if 0 <= item.row < len(view)
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
