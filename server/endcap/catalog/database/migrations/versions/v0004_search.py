"""What items are found by, and a placement that searches for shops that have none of its id."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0004"
down_revision = "0003"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BATCH = 5_000  # rows in memory at a time

# The words are cut and folded already: "ascii" leaves everything but ASCII letters as it is, and ours are
# small. An index of beginnings was measured: it doubles the size and makes no query faster.
_SQLITE = (
    """
    CREATE VIRTUAL TABLE item_words USING fts5(
        title, labels, description,
        content = 'item_texts', content_rowid = 'sequence', tokenize = 'ascii'
    )
    """,
    """
    CREATE TRIGGER item_texts_inserted AFTER INSERT ON item_texts BEGIN
        INSERT INTO item_words (rowid, title, labels, description)
        VALUES (new.sequence, new.title, new.labels, new.description);
    END
    """,
    """
    CREATE TRIGGER item_texts_deleted AFTER DELETE ON item_texts BEGIN
        INSERT INTO item_words (item_words, rowid, title, labels, description)
        VALUES ('delete', old.sequence, old.title, old.labels, old.description);
    END
    """,
    """
    CREATE TRIGGER item_texts_updated AFTER UPDATE ON item_texts BEGIN
        SELECT RAISE(ABORT, 'rows of item_texts are deleted and inserted, never updated');
    END
    """,
)
_POSTGRESQL = (
    """
    ALTER TABLE item_texts ADD COLUMN words tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A')
        || setweight(to_tsvector('simple', labels), 'B')
        || setweight(to_tsvector('simple', description), 'C')
    ) STORED
    """,
    "CREATE INDEX item_texts_words ON item_texts USING gin (words)",
)


def upgrade() -> None:
    """Create the index and fill it with the items that there are; give shops the placement."""
    item_texts = op.create_table(
        "item_texts",
        sa.Column("sequence", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("shop", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("labels", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["shop"], ["shops.id"], name="item_texts_shop_fkey"),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("shop", "position", name="item_texts_position_key"),
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
    for batch in _items():
        values = [
            {"shop": item["shop"], "position": item["position"], **_searchable_texts(item)} for item in batch
        ]
        op.bulk_insert(item_texts, values)
    _give_shops_the_placement()


def downgrade() -> None:
    """Drop the index, and the placements that search: the release before knows no such task."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE item_words")
    op.drop_table("item_texts")
    op.execute("DELETE FROM placements WHERE task = 'search'")


def _items() -> Iterator[list[dict[str, Any]]]:
    """Yield the items that are not deleted, in batches."""
    items = sa.table(
        "items",
        sa.column("shop", sa.String()),
        sa.column("position", sa.BigInteger()),
        sa.column("title", sa.String()),
        sa.column("description", sa.String()),
        sa.column("localized_texts", _JSON),
        sa.column("categories", _JSON),
        sa.column("brand", sa.String()),
        sa.column("tags", _JSON),
        sa.column("deleted", sa.Boolean()),
    )
    query = sa.select(items).where(items.c.deleted.is_(False)).order_by(items.c.shop, items.c.position)
    last: tuple[str, int] = ("", -1)
    while True:
        after = sa.tuple_(items.c.shop, items.c.position) > sa.tuple_(*map(sa.literal, last))
        batch = [dict(row) for row in op.get_bind().execute(query.where(after).limit(_BATCH)).mappings()]
        if not batch:
            return
        yield batch
        last = (batch[-1]["shop"], batch[-1]["position"])


def _give_shops_the_placement() -> None:
    shops = sa.table(
        "shops",
        sa.column("id", sa.String()),
        sa.column("revision", sa.BigInteger()),
        sa.column("created_time", sa.BigInteger()),
    )
    placements = sa.table(
        "placements",
        sa.column("shop", sa.String()),
        sa.column("id", sa.String()),
        sa.column("task", sa.String()),
        sa.column("ladder", _JSON),
        sa.column("settings", _JSON),
        sa.column("created_time", sa.BigInteger()),
        sa.column("updated_time", sa.BigInteger()),
        sa.column("revision", sa.BigInteger()),
    )
    has_one = sa.select(placements.c.shop).where(placements.c.id == "search")
    values = [
        {
            "shop": shop["id"],
            "id": "search",
            "task": "search",
            "ladder": [
                {"strategy": strategy, "parameters": {}, "timeout": None}
                for strategy in ("search", "popular")
            ],
            "settings": {
                "display_name": "Search",
                "exclude_seen": False,
                "seen_types": ["purchase"],
                "seen_window": None,
                "page_size": 10,
                "filter": "",
                "rules": [],
            },
            "created_time": shop["created_time"],
            "updated_time": shop["created_time"],
            "revision": shop["revision"],
        }
        for shop in op.get_bind().execute(sa.select(shops).where(shops.c.id.not_in(has_one))).mappings()
    ]
    op.bulk_insert(placements, values)


# The words that find items, as of this migration: later releases cut and fold words as they like.

_MAX_WORD_LENGTH = 64

_CJK = (
    "\u1100-\u11ff"  # Hangul letters
    "\u3005\u3007"  # iteration mark and zero
    "\u3040-\u30ff"  # Hiragana and Katakana
    "\u3130-\u318f"  # Hangul compatibility letters
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\uac00-\ud7af"  # Hangul syllables
    "\U00020000-\U0003ffff"  # rarer Han
)
_RUNS = re.compile(f"([{_CJK}]+)|([^\\W_{_CJK}]+)")


def _searchable_texts(item: Mapping[str, Any]) -> dict[str, str]:
    localized = list(item["localized_texts"].values())
    titles = [item["title"], *(texts.get("title", "") for texts in localized)]
    return {
        "title": "\n".join(words for title in titles if (words := _indexed_words(title))),
        "labels": _indexed_words(item["brand"], *item["tags"], *item["categories"]),
        "description": _indexed_words(
            item["description"], *(texts.get("description", "") for texts in localized)
        ),
    }


def _indexed_words(*texts: str) -> str:
    return " ".join(form for text in texts for word in _tokenize(text) for form in _word_forms(word))


def _word_forms(word: str) -> tuple[str, ...]:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return (word,)
    if word.endswith("ies"):
        return (word, word[:-1], f"{word[:-3]}y")
    if word.endswith(("sses", "xes", "ches", "shes", "oes")):
        return (word, word[:-1], word[:-2])
    return (word, word[:-1])


def _tokenize(text: str) -> list[str]:
    words: list[str] = []
    for characters, word in _RUNS.findall(_folded(text)):
        if characters:
            words += characters
            words += map("".join, pairwise(characters))
        else:
            words.append(word[:_MAX_WORD_LENGTH])
    return words


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(character for character in decomposed if not "\u0300" <= character <= "\u036f")
    return unicodedata.normalize("NFC", bare).replace("'", "").replace("\u2019", "")
