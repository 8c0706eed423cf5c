"""Events after a login: what a visitor was shown is not foreign to the user that the visitor is."""

from dataclasses import replace

import structlog

from endcap.catalog.database.engine import Database
from endcap.catalog.events.events import Attribution, Event
from endcap.catalog.events.exposures import unit_digest
from endcap.catalog.people.users import find_links
from endcap.sdk.errors import EndcapError
from endcap.server.recording.attribution import attribute
from endcap.server.serving.state import ServedShop


_log = structlog.get_logger(__name__)


async def recognize_logins(
    events: dict[int, Event], shop: ServedShop, database: Database
) -> dict[int, Event]:
    """Return events without the mark of a foreign unit where somebody logged in or out in between.

    A visitor and a user count as one where an event, of the same call or stored, links them. If the database
    does not answer, the events whose links are in doubt are marked as unchecked.

    Args:
        events: All of one call, marked, by their place in it.
        shop: The id of their shop.
        database: Where links are stored.
    """
    foreign = {place: each for place, each in events.items() if each.attribution is Attribution.FOREIGN_UNIT}
    if not foreign:
        return events
    links = [(each.visitor_id, each.user_id) for each in events.values() if each.visitor_id and each.user_id]
    known = True
    try:
        async with database.read() as connection:
            links += await find_links(
                connection=connection,
                shop=shop.id,
                user_ids={each.user_id for each in foreign.values() if each.user_id},
                visitor_ids={each.visitor_id for each in foreign.values() if each.visitor_id},
            )
    except EndcapError as error:
        _log.warning("links unknown", shop=shop.id, reason=str(error))
        known = False
    visitors_of: dict[str, set[bytes]] = {}
    users_of: dict[str, set[bytes]] = {}
    for visitor_id, user_id in links:
        visitors_of.setdefault(user_id, set()).add(unit_digest(shop.token_key, None, visitor_id))
        users_of.setdefault(visitor_id, set()).add(unit_digest(shop.token_key, user_id, None))
    settled = dict(events)
    for place, event in foreign.items():
        linked = visitors_of.get(event.user_id or "", set()) | users_of.get(event.visitor_id or "", set())
        marked = attribute(event, shop.token_key, linked=linked)
        if not known and marked.attribution is Attribution.FOREIGN_UNIT:
            marked = replace(marked, attribution=Attribution.UNCHECKED)
        settled[place] = marked
    return settled
