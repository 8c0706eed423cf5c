"""The tables that operators configure: shops, placements, bundles and imports."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKeyConstraint,
    Index,
    text,
)
from sqlmodel import Field, SQLModel

from endcap.catalog.database.column_types import ID, JSON_VALUE, NULLABLE_JSON


class ShopTable(SQLModel, table=True):
    """A tenant."""

    __tablename__ = "shops"

    id: str = Field(sa_type=ID, primary_key=True)
    currency: str
    """ISO 4217 code that prices are compared and reported in; empty if unknown."""
    settings: dict[str, Any] = Field(sa_type=JSON_VALUE)
    token_key: bytes  # signs attribution and page tokens
    revision: int = Field(sa_type=BigInteger)
    """The number of writes that changed the served content."""
    created_time: int = Field(sa_type=BigInteger)


class AttributeDefinitionTable(SQLModel, table=True):
    """The type that an attribute of items has in a shop."""

    __tablename__ = "attribute_definitions"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="attribute_definitions_shop_fkey"),)

    shop: str = Field(primary_key=True)
    name: str = Field(sa_type=ID, primary_key=True)
    type: str


class ShopChangeTable(SQLModel, table=True):
    """A change of a shop's settings."""

    __tablename__ = "shop_changes"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="shop_changes_shop_fkey"),)

    shop: str = Field(primary_key=True)
    revision: int = Field(sa_type=BigInteger, primary_key=True)
    time: int = Field(sa_type=BigInteger)
    actor: str
    """The actor who made the change; empty if the call named none."""
    request_id: str
    before: dict[str, Any] | None = Field(sa_type=NULLABLE_JSON)
    after: dict[str, Any] = Field(sa_type=JSON_VALUE)


class PlacementTable(SQLModel, table=True):
    """A named spot in the shop."""

    __tablename__ = "placements"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="placements_shop_fkey"),)

    shop: str = Field(primary_key=True)
    id: str = Field(sa_type=ID, primary_key=True)
    task: str
    ladder: list[dict[str, Any]] = Field(sa_type=JSON_VALUE)
    settings: dict[str, Any] = Field(sa_type=JSON_VALUE)
    created_time: int = Field(sa_type=BigInteger)
    updated_time: int = Field(sa_type=BigInteger)
    revision: int = Field(sa_type=BigInteger)


class PlacementChangeTable(SQLModel, table=True):
    """A change of a placement; kept when the placement is deleted."""

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
    """The actor who made the change; empty if the call named none."""
    request_id: str
    before: dict[str, Any] | None = Field(sa_type=NULLABLE_JSON)
    after: dict[str, Any] | None = Field(sa_type=NULLABLE_JSON)


class BundleTable(SQLModel, table=True):
    """A bundle that was offered to the shop; the database allows only one active bundle of each model."""

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
    model: str = Field(sa_type=ID, primary_key=True)
    version: str = Field(sa_type=ID, primary_key=True)
    path: str
    state: str
    refusal: str
    """The error of the last loading; empty in any other state than refused."""
    manifest: dict[str, Any] = Field(sa_type=JSON_VALUE)
    checksum: str
    """SHA-256 of the manifest's bytes, in hexadecimal."""
    size_bytes: int = Field(sa_type=BigInteger)
    item_count: int
    created_time: int = Field(sa_type=BigInteger)
    activated_time: int | None = Field(sa_type=BigInteger)
    revision: int = Field(sa_type=BigInteger)
    """The revision of the last change that started or stopped serving; 0 if it never served."""


class ImportTable(SQLModel, table=True):
    """The progress of a file's import, kept until the import is done."""

    __tablename__ = "imports"
    __table_args__ = (ForeignKeyConstraint(["shop"], ["shops.id"], name="imports_shop_fkey"),)

    shop: str = Field(primary_key=True)
    file: str = Field(primary_key=True)
    """The file's fingerprint."""
    offset: int = Field(sa_type=BigInteger)
    """The offset in bytes, or in rows for formats that count rows."""
    line: int = Field(sa_type=BigInteger)
    stored: int = Field(sa_type=BigInteger)
    duplicates: int = Field(sa_type=BigInteger)
    rejected: dict[str, int] = Field(sa_type=JSON_VALUE)
    """Number of rejected rows, by reason."""
    rejects_size: int = Field(sa_type=BigInteger)
