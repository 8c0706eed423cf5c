"""The tables. Every one belongs to a shop, and migrations create them.

All times are Unix milliseconds, all amounts of money are billionths of a currency unit, and every
enumeration is stored as its text. A row that changes what is served carries the shop's ``revision`` of
the change, so that another process finds everything newer than what it holds.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


_Json = JSON().with_variant(JSONB(), "postgresql")
_NullableJson = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# Lists are cut into pages by the order of ids, which is that of their bytes whatever the database's language.
_Id = String().with_variant(String(collation="C"), "postgresql")
# SQLite counts up only a primary key of type INTEGER.
_Sequence = BigInteger().with_variant(Integer(), "sqlite")


class ShopTable(SQLModel, table=True):
    """A tenant."""

    __tablename__ = "shops"

    id: str = Field(sa_type=_Id, primary_key=True)
    currency: str
    """ISO 4217 code that prices are compared and reported in; empty when not said."""
    settings: dict[str, Any] = Field(sa_type=_Json)
    token_key: bytes  # signs what the server hands out and gets back: attribution and page tokens
    revision: int = Field(sa_type=BigInteger)
    """Counts the writes that change what is served."""
    created_time: int = Field(sa_type=BigInteger)


class AttributeDefinitionTable(SQLModel, table=True):
    """The type that an attribute of items has in a shop."""

    __tablename__ = "attribute_definitions"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="attribute_definitions_shop_fkey"),)

    shop: str = Field(primary_key=True)
    name: str = Field(sa_type=_Id, primary_key=True)
    type: str


class ShopChangeTable(SQLModel, table=True):
    """A change of a shop's settings."""

    __tablename__ = "shop_changes"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="shop_changes_shop_fkey"),)

    shop: str = Field(primary_key=True)
    revision: int = Field(sa_type=BigInteger, primary_key=True)
    time: int = Field(sa_type=BigInteger)
    actor: str
    """Who made it; empty where nobody says."""
    request_id: str
    before: dict[str, Any] | None = Field(sa_type=_NullableJson)
    after: dict[str, Any] = Field(sa_type=_Json)


class ItemTable(SQLModel, table=True):
    """Something that a shop sells. Deleting one keeps the row, for rows of views are positions."""

    __tablename__ = "items"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="items_shop_fkey"),
        Index("items_position_key", "shop", "position", unique=True),
        Index("items_revision", "shop", "revision"),
    )

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=_Id, primary_key=True)
    position: int = Field(sa_type=BigInteger)
    """The item's row in every view: counted from 0 in order of arrival, never given twice."""
    title: str
    description: str
    language_code: str
    localized_texts: dict[str, Any] = Field(sa_type=_Json)
    categories: list[str] = Field(sa_type=_Json)
    brand: str
    tags: list[str] = Field(sa_type=_Json)
    attributes: dict[str, Any] = Field(sa_type=_Json)
    price_nanos: int | None = Field(sa_type=BigInteger)
    original_price_nanos: int | None = Field(sa_type=BigInteger)
    cost_nanos: int | None = Field(sa_type=BigInteger)
    currency: str
    """Of all three amounts; empty for the shop's."""
    image_uris: list[str] = Field(sa_type=_Json)
    availability: str
    available_time: int | None = Field(sa_type=BigInteger)
    expire_time: int | None = Field(sa_type=BigInteger)
    group_id: str
    created_time: int = Field(sa_type=BigInteger)
    updated_time: int = Field(sa_type=BigInteger)
    deleted: bool
    revision: int = Field(sa_type=BigInteger)


class ItemWriteTable(SQLModel, table=True):
    """A revision that wrote items; kept for a while when later ones wrote the same."""

    __tablename__ = "item_writes"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="item_writes_shop_fkey"),)

    shop: str = Field(primary_key=True)
    revision: int = Field(sa_type=BigInteger, primary_key=True)


class ItemTextTable(SQLModel, table=True):
    """What one item is found by: words joined by spaces.

    The migrations add what searches it: for SQLite the virtual table ``item_words`` and the triggers that
    keep it, for PostgreSQL the generated column ``words``.
    """

    __tablename__ = "item_texts"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="item_texts_shop_fkey"),
        UniqueConstraint("shop", "position", name="item_texts_position_key"),
    )

    sequence: int | None = Field(
        default=None, sa_column=Column(_Sequence, primary_key=True, autoincrement=True)
    )
    """Names the row in ``item_words``."""
    shop: str
    position: int = Field(sa_type=BigInteger)
    """That of the item."""
    title: str
    labels: str
    """Brand, tags and categories."""
    description: str


class UserTable(SQLModel, table=True):
    """Somebody known to the shop."""

    __tablename__ = "users"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="users_shop_fkey"),)

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=_Id, primary_key=True)
    created_time: int = Field(sa_type=BigInteger)
    pseudonym_key: bytes
    """16 random bytes: without them nothing links the pseudonym in a snapshot to the user."""


class VisitorTable(SQLModel, table=True):
    """An anonymous visitor, and the user it turned out to be."""

    __tablename__ = "visitors"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="visitors_shop_fkey"),
        Index("visitors_user", "shop", "user_id"),
    )

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=_Id, primary_key=True)
    user_id: str | None
    """The user of the newest event that carried both."""
    created_time: int = Field(sa_type=BigInteger)
    pseudonym_key: bytes
    linked_time: int | None = Field(sa_type=BigInteger)
    """That of the event which made the link."""


class UserRecordTable(SQLModel, table=True):
    """What the shop says of a user; one who only has events has none."""

    __tablename__ = "user_records"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="user_records_shop_fkey"),)

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=_Id, primary_key=True)
    tags: list[str] = Field(sa_type=_Json)
    attributes: dict[str, Any] = Field(sa_type=_Json)
    language_code: str
    created_time: int = Field(sa_type=BigInteger)
    updated_time: int = Field(sa_type=BigInteger)
    version: int = Field(sa_type=BigInteger)
    """Counts the writes."""


class TombstoneTable(SQLModel, table=True):
    """A user or visitor who was deleted."""

    __tablename__ = "tombstones"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="tombstones_shop_fkey"),)

    shop: str = Field(primary_key=True)
    digest: bytes = Field(primary_key=True)
    """A hash of the id, keyed by the shop's key."""


class EventTable(SQLModel, table=True):
    """Something that somebody did with an item; never changed once stored."""

    __tablename__ = "events"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="events_shop_fkey"),
        UniqueConstraint("shop", "event_id", name="events_event_id_key"),
        Index("events_revision", "shop", "revision"),
        {"sqlite_autoincrement": True},
    )

    sequence: int | None = Field(
        default=None, sa_column=Column(_Sequence, primary_key=True, autoincrement=True)
    )
    """Orders the events as they were stored."""
    shop: str
    event_id: str
    type: str
    user_id: str | None
    visitor_id: str | None
    item_id: str
    """May name an item that the catalog does not hold yet."""
    time: int = Field(sa_type=BigInteger)
    quantity: float
    price_nanos: int | None = Field(sa_type=BigInteger)
    currency: str
    value: float | None
    attribution_token: str
    order_id: str
    properties: dict[str, Any] = Field(sa_type=_Json)
    attribution: str
    """What the token says of the event."""
    revision: int = Field(sa_type=BigInteger)


class PlacementTable(SQLModel, table=True):
    """A named spot in the shop."""

    __tablename__ = "placements"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="placements_shop_fkey"),)

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=_Id, primary_key=True)
    task: str
    ladder: list[dict[str, Any]] = Field(sa_type=_Json)
    settings: dict[str, Any] = Field(sa_type=_Json)
    created_time: int = Field(sa_type=BigInteger)
    updated_time: int = Field(sa_type=BigInteger)
    revision: int = Field(sa_type=BigInteger)


class PlacementChangeTable(SQLModel, table=True):
    """A change of a placement; kept when the placement is gone."""

    __tablename__ = "placement_changes"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="placement_changes_shop_fkey"),
        Index("placement_changes_placement", "shop", "placement", "revision"),
    )

    shop: str = Field(primary_key=True)
    revision: int = Field(sa_type=BigInteger, primary_key=True)
    placement: str
    time: int = Field(sa_type=BigInteger)
    actor: str
    """Who made it; empty where nobody says."""
    request_id: str
    before: dict[str, Any] | None = Field(sa_type=_NullableJson)
    after: dict[str, Any] | None = Field(sa_type=_NullableJson)


class BundleTable(SQLModel, table=True):
    """A bundle that was offered to the shop; the database itself allows one active one a model."""

    __tablename__ = "bundles"
    __table_args__ = (
        ForeignKeyConstraint(["shop"], ["shops.id"], name="bundles_shop_fkey"),
        Index(
            "bundles_active_key",
            "shop",
            "model",
            unique=True,
            sqlite_where=text("state = 'active'"),
            postgresql_where=text("state = 'active'"),
        ),
    )

    shop: str = Field(primary_key=True)
    model: str = Field(sa_type=_Id, primary_key=True)
    version: str = Field(sa_type=_Id, primary_key=True)
    path: str
    state: str
    refusal: str
    """Why it was refused when it was last loaded; empty for any other state."""
    manifest: dict[str, Any] = Field(sa_type=_Json)
    checksum: str
    """SHA-256 of the manifest's bytes, in hexadecimal."""
    size_bytes: int = Field(sa_type=BigInteger)
    item_count: int
    created_time: int = Field(sa_type=BigInteger)
    activated_time: int | None = Field(sa_type=BigInteger)
    revision: int = Field(sa_type=BigInteger)
    """Of the change that last made it serve or stop; 0 if it never served."""


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
        default=None, sa_column=Column(_Sequence, primary_key=True, autoincrement=True)
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
    bundles: dict[str, str] = Field(sa_type=_Json)
    configuration: int = Field(sa_type=BigInteger)
    """The shop's revision that last changed the placement; 0 where it was not recorded."""
    assignments: list[list[Any]] = Field(sa_type=_Json)
    """Experiment, variant and propensity of each."""
    candidates: bytes
    """A hash of the set of items that the page was arranged from; empty where it was not recorded."""
    item_ids: list[str] = Field(sa_type=_Json)
    """In the order shown."""
    sources: list[list[Any]] = Field(sa_type=_Json)
    """Strategy, bundle, and how many items in a row came from them."""
    log_propensities: list[float | None] = Field(sa_type=_Json)
    """One an item; empty where chance played no part."""
    degraded: list[dict[str, Any]] = Field(sa_type=_Json)


class ImportTable(SQLModel, table=True):
    """How far a file is imported, as long as its import is not done."""

    __tablename__ = "imports"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="imports_shop_fkey"),)

    shop: str = Field(primary_key=True)
    file: str = Field(primary_key=True)
    """Its fingerprint."""
    offset: int = Field(sa_type=BigInteger)
    """In bytes, or in rows where its format counts these."""
    line: int = Field(sa_type=BigInteger)
    stored: int = Field(sa_type=BigInteger)
    duplicates: int = Field(sa_type=BigInteger)
    rejected: dict[str, int] = Field(sa_type=_Json)
    """Rows by reason."""
    rejects_size: int = Field(sa_type=BigInteger)


METADATA = SQLModel.metadata
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
