"""A shop, served: the state that its answers are made from."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from endcap.catalog.configuration.shop_settings import ShopSettings
from endcap.catalog.memory.histories import Histories
from endcap.catalog.memory.rows import TimedView
from endcap.runtime.instances import Generation
from endcap.sdk import CatalogView, History, Rows
from endcap.sdk.errors import NotFound
from endcap.server.serving.ladders import Ladder
from endcap.server.serving.masks import Masks


@dataclass(frozen=True, slots=True, eq=False)
class ShopState:
    """The state that one answer is made from; replaced whole, never changed."""

    timed_view: TimedView
    masks: Masks
    histories: Histories
    """Shared with later states, so it may hold events of items that the view does not."""

    generation: Generation
    ladders: Mapping[str, Ladder]

    view: CatalogView = field(init=False)
    """The view of the items."""

    def __post_init__(self) -> None:
        """Have the view at hand, which each answer reads many times."""
        object.__setattr__(self, "view", self.timed_view.view)

    def history(self, user_id: str | None, visitor_id: str | None) -> History:
        """Return the events of a person that concern items of the view, as ``Histories.of`` has them."""
        history = self.histories.of(user_id, visitor_id)
        held = history.rows < len(self.view)
        if held.all():
            return history
        return history.of(held)

    def seen(self, user_id: str | None, visitor_id: str | None, *, types: Sequence[str], since: int) -> Rows:
        """Return the rows of the view that a person has seen, as ``Histories.seen`` has them."""
        seen = self.histories.seen(user_id, visitor_id, types=types, since=since)
        return seen[seen < len(self.view)]

    def ladder(self, placement: str) -> Ladder:
        """Return a placement's ladder.

        Raises:
            NotFound: The shop has no such placement.
        """
        if placement not in self.ladders:
            raise NotFound(f"placement {placement!r} does not exist: use one of {', '.join(self.ladders)}")
        return self.ladders[placement]


@dataclass(slots=True, eq=False)
class ServedShop:
    """A shop, served."""

    id: str
    token_key: bytes
    state: ShopState
    renewed_at: float
    """Monotonic seconds when paid prices and bundles were read last."""

    settings: ShopSettings = field(default_factory=ShopSettings)

    catching_up: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while other processes' writes are taken in, so that many calls wait for one load."""

    @property
    def timed_view(self) -> TimedView:
        """The items that are served."""
        return self.state.timed_view

    @property
    def revision(self) -> int:
        """The last revision of the shop that is in memory, all earlier ones included."""
        return self.state.histories.revision
