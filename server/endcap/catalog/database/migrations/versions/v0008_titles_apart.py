"""Titles in several languages, a line each, so that each can be told from a text that is more than it."""

import re
import unicodedata
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql


revision = "0008"
down_revision = "0007"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_BATCH = 1_000  # rows in memory at a time


def upgrade() -> None:
    """Write the words of items with texts in other languages anew."""
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
    item_texts = sa.table(
        "item_texts",
        sa.column("shop", sa.String()),
        sa.column("position", sa.BigInteger()),
        sa.column("title", sa.String()),
        sa.column("labels", sa.String()),
        sa.column("description", sa.String()),
    )
    outdated = sa.delete(item_texts).where(
        item_texts.c.shop == sa.bindparam("of_shop"), item_texts.c.position == sa.bindparam("at_position")
    )
    query = sa.select(items).where(items.c.deleted.is_(False)).order_by(items.c.shop, items.c.position)
    last: tuple[str, int] = ("", -1)
    while True:
        after = sa.tuple_(items.c.shop, items.c.position) > sa.tuple_(*map(sa.literal, last))
        batch = [dict(row) for row in op.get_bind().execute(query.where(after).limit(_BATCH)).mappings()]
        if not batch:
            return
        last = (batch[-1]["shop"], batch[-1]["position"])
        if translated := [item for item in batch if item["localized_texts"]]:
            places = [{"of_shop": item["shop"], "at_position": item["position"]} for item in translated]
            op.get_bind().execute(outdated, places)
            op.bulk_insert(
                item_texts,
                [
                    {"shop": item["shop"], "position": item["position"], **_searchable_texts(item)}
                    for item in translated
                ],
            )


def downgrade() -> None:
    """Leave the words as they are: the release before reads lines as it reads spaces."""


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
