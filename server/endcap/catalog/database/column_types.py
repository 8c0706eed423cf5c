"""Column types that each database spells in its own way."""

from sqlalchemy import JSON, BigInteger, Integer, String
from sqlalchemy.dialects.postgresql import JSONB


JSON_VALUE = JSON().with_variant(JSONB(), "postgresql")
NULLABLE_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

ID = String().with_variant(String(collation="C"), "postgresql")
"""Ids are ordered by their bytes, whatever the language of the database: pages of lists rely on it."""

SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite increments only primary keys of type INTEGER."""
