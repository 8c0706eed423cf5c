"""The tables. Every one belongs to a shop, and migrations create them.

All times are Unix milliseconds, all amounts of money are billionths of a currency unit, and every
enumeration is stored as its text. A row that changes what is served carries the shop's ``revision`` of
the change, so that another process finds everything newer than what it holds.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
    null,
    text,
)
from sqlmodel import Field, SQLModel

from endcap.catalog.database.column_types import ID, JSON_VALUE, SEQUENCE
from endcap.catalog.database.configuration_tables import ShopTable


class ItemTable(SQLModel, table=True):
    """An item of a shop. Deleting an item keeps its row, because rows of views are positions."""

    __tablename__ = "items"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="items_shop_fkey"),
        Index("items_position_key", "shop", "position", unique=True),
        Index("items_revision", "shop", "revision"),
    )

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=ID, primary_key=True)
    position: int = Field(sa_type=BigInteger)
    """The item's row in every view: counted from 0 in the order of arrival, never reused."""
    title: str
    description: str
    language_code: str
    localized_texts: dict[str, Any] = Field(sa_type=JSON_VALUE)
    categories: list[str] = Field(sa_type=JSON_VALUE)
    brand: str
    tags: list[str] = Field(sa_type=JSON_VALUE)
    attributes: dict[str, Any] = Field(sa_type=JSON_VALUE)
    price_nanos: int | None = Field(sa_type=BigInteger)
    original_price_nanos: int | None = Field(sa_type=BigInteger)
    cost_nanos: int | None = Field(sa_type=BigInteger)
    currency: str
    """The currency of all three amounts; empty for the shop's currency."""
    image_uris: list[str] = Field(sa_type=JSON_VALUE)
    availability: str
    available_time: int | None = Field(sa_type=BigInteger)
    expire_time: int | None = Field(sa_type=BigInteger)
    group_id: str
    created_time: int = Field(sa_type=BigInteger)
    updated_time: int = Field(sa_type=BigInteger)
    deleted: bool
    revision: int = Field(sa_type=BigInteger)


class ItemWriteTable(SQLModel, table=True):
    """A revision that wrote items; kept for a while, even if later revisions wrote the same items."""

    __tablename__ = "item_writes"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="item_writes_shop_fkey"),)

    shop: str = Field(primary_key=True)
    revision: int = Field(sa_type=BigInteger, primary_key=True)


class ItemTextTable(SQLModel, table=True):
    """The words that find an item, joined by spaces.

    The migrations add what searches it: for SQLite the virtual table ``item_words`` and the triggers that
    keep it, for PostgreSQL the generated column ``words``.
    """

    __tablename__ = "item_texts"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="item_texts_shop_fkey"),
        UniqueConstraint("shop", "position", name="item_texts_position_key"),
    )

    sequence: int | None = Field(
        default=None, sa_column=Column(SEQUENCE, primary_key=True, autoincrement=True)
    )
    """The id of the row in ``item_words``."""
    shop: str
    position: int = Field(sa_type=BigInteger)
    """The revision of the item."""
    title: str
    labels: str
    """Brand, tags and categories."""
    description: str


class UserTable(SQLModel, table=True):
    """A user known to the shop."""

    __tablename__ = "users"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="users_shop_fkey"),)

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=ID, primary_key=True)
    created_time: int = Field(sa_type=BigInteger)
    pseudonym_key: bytes
    """16 random bytes: without them nothing links the pseudonym in a snapshot to the user."""


class VisitorTable(SQLModel, table=True):
    """A visitor, and the user that the visitor is linked to."""

    __tablename__ = "visitors"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="visitors_shop_fkey"),
        Index("visitors_user", "shop", "user_id"),
    )

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=ID, primary_key=True)
    user_id: str | None
    """The linked user: that of the newest event with both ids."""
    created_time: int = Field(sa_type=BigInteger)
    pseudonym_key: bytes
    linked_time: int | None = Field(sa_type=BigInteger)
    """The time of the event that made the link."""


class UserRecordTable(SQLModel, table=True):
    """The shop's own record of a user; a user who only has events has no record."""

    __tablename__ = "user_records"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="user_records_shop_fkey"),)

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=ID, primary_key=True)
    tags: list[str] = Field(sa_type=JSON_VALUE)
    attributes: dict[str, Any] = Field(sa_type=JSON_VALUE)
    language_code: str
    created_time: int = Field(sa_type=BigInteger)
    updated_time: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)
    """The number of writes."""


class TombstoneTable(SQLModel, table=True):
    """A user or visitor who was deleted."""

    __tablename__ = "tombstones"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="tombstones_shop_fkey"),)

    shop: str = Field(primary_key=True)
    digest: bytes = Field(primary_key=True)
    """A hash of the id, keyed by the shop's key."""


class EventTable(SQLModel, table=True):
    """Something that somebody did, mostly with an item; changed only by events that take it back."""

    __tablename__ = "events"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="events_shop_fkey"),
        UniqueConstraint("shop", "event_id", name="events_event_id_key"),
        Index("events_revision", "shop", "revision"),
        {"sqlite_autoincrement": True},
    )

    sequence: int | None = Field(
        default=None, sa_column=Column(SEQUENCE, primary_key=True, autoincrement=True)
    )
    """The order in which events were stored."""
    shop: str
    event_id: str
    type: str
    user_id: str | None
    visitor_id: str | None
    item_id: str
    """May name an item that the catalog does not hold yet; empty for an event without an item."""
    time: int = Field(sa_type=BigInteger)
    quantity: float
    price_nanos: int | None = Field(sa_type=BigInteger)
    currency: str
    value: float | None
    attribution_token: str
    order_id: str
    query: str
    reversed_event_id: str
    """The event that this one takes back; empty for none."""
    unit_cost_nanos: int | None = Field(sa_type=BigInteger)
    properties: dict[str, Any] = Field(sa_type=JSON_VALUE)
    attribution: str
    """The result of comparing the event with its token."""
    reversed_quantity: float = Field(sa_column=Column(Float, nullable=False, server_default="0"))
    """The quantity that later events took back."""
    reversed_revision: int | None = Field(sa_column=Column(BigInteger, server_default=null()))
    """The shop's revision at which nothing of the event was left."""
    revision: int = Field(sa_type=BigInteger)


class ExposureTable(SQLModel, table=True):
    """The record that a page of an answer was shown."""

    __tablename__ = "exposures"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="exposures_shop_fkey"),
        Index(
            "exposures_current_key",
            "shop",
            "request_id",
            "placement",
            "unit",
            "page",
            unique=True,
            sqlite_where=text("superseded = 0"),
            postgresql_where=text("NOT superseded"),
        ),
        Index("exposures_user", "shop", "user_id", "time"),
        Index("exposures_visitor", "shop", "visitor_id", "time"),
        {"sqlite_autoincrement": True},
    )

    sequence: int | None = Field(
        default=None, sa_column=Column(SEQUENCE, primary_key=True, autoincrement=True)
    )
    shop: str
    request_id: str
    placement: str
    unit: bytes
    """A hash of the user, or else of the visitor, keyed by the shop's key."""
    page: int = Field(sa_type=BigInteger)
    """Items on the earlier pages of the same answer."""
    superseded: bool
    """Whether the same page was served again, with other items."""
    time: int = Field(sa_type=BigInteger)
    user_id: str | None
    visitor_id: str | None
    query: str
    language: str
    device: str
    view: str
    bundles: dict[str, str] = Field(sa_type=JSON_VALUE)
    configuration: int = Field(sa_type=BigInteger)
    """The shop's revision that last changed the placement; 0 if it was not recorded."""
    assignments: list[list[Any]] = Field(sa_type=JSON_VALUE)
    """Experiment, variant and propensity of each assignment."""
    candidates: bytes
    """A hash of the set of candidates of the page; empty if it was not recorded."""
    item_ids: list[str] = Field(sa_type=JSON_VALUE)
    """The items in the order shown."""
    sources: list[list[Any]] = Field(sa_type=JSON_VALUE)
    """Strategy, bundle, and the number of consecutive items from them."""
    log_propensities: list[float | None] = Field(sa_type=JSON_VALUE)
    """One value for each item; empty if the order was not random."""
    degraded: list[dict[str, Any]] = Field(sa_type=JSON_VALUE)


METADATA = ShopTable.metadata
SHOPS = METADATA.tables["shops"]
ATTRIBUTES = METADATA.tables["attribute_definitions"]
SHOP_CHANGES = METADATA.tables["shop_changes"]
ITEMS = METADATA.tables["items"]
ITEM_WRITES = METADATA.tables["item_writes"]
ITEM_TEXTS = METADATA.tables["item_texts"]
USERS = METADATA.tables["users"]
USER_RECORDS = METADATA.tables["user_records"]
VISITORS = METADATA.tables["visitors"]
TOMBSTONES = METADATA.tables["tombstones"]
EVENTS = METADATA.tables["events"]
PLACEMENTS = METADATA.tables["placements"]
PLACEMENT_CHANGES = METADATA.tables["placement_changes"]
BUNDLES = METADATA.tables["bundles"]
EXPOSURES = METADATA.tables["exposures"]
IMPORTS = METADATA.tables["imports"]
