"""The search index: the words of every item, updated together with the items.

A row of ``item_texts`` holds the words of one item, as ``endcap.sdk.text`` gives them, joined by spaces, so
that no database splits or folds the words in its own way. SQLite indexes the rows by FTS5, through triggers;
PostgreSQL by a generated ``tsvector``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.database.membership import in_chunks, is_among
from endcap.catalog.database.tables import ITEM_TEXTS, ITEMS
from endcap.sdk.text import tokenize


_TEXTS = ("title", "labels", "description")


def word_forms(word: str) -> tuple[str, ...]:
    """Return a word, followed by possible singulars if the word looks like an English plural.

    Texts are indexed by all forms and searched by any form, so ``mugs`` finds ``mug`` and vice versa.
    ``boxes`` yields ``boxe`` and ``box``, ``cookies`` yields ``cookie`` and ``cooky``; a form that is not a
    word finds no item.
    """
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return (word,)
    if word.endswith("ies"):
        return (word, word[:-1], f"{word[:-3]}y")
    if word.endswith(("sses", "xes", "ches", "shes", "oes")):
        return (word, word[:-1], word[:-2])
    return (word, word[:-1])


def indexed_words(*texts: str) -> str:
    """Return every form of the words of texts, joined by spaces."""
    return " ".join(form for text in texts for word in tokenize(text) for form in word_forms(word))


def searchable_texts(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the words that find an item, from its title, its labels and its description.

    Args:
        item: Values of the table ``items`` by column. Localized texts are included; each title is a line of
            its own, to keep titles apart.
    """
    localized = list(item["localized_texts"].values())
    titles = [item["title"], *(texts.get("title", "") for texts in localized)]
    return {
        "title": "\n".join(words for title in titles if (words := indexed_words(title))),
        "labels": indexed_words(item["brand"], *item["tags"], *item["categories"]),
        "description": indexed_words(
            item["description"], *(texts.get("description", "") for texts in localized)
        ),
    }


async def index_items(*, connection: AsyncConnection, shop: str, items: Sequence[Mapping[str, Any]]) -> None:
    """Index items by their current texts; items whose words are unchanged are only compared.

    Args:
        connection: A connection that writes.
        shop: The shop's id.
        items: As for ``searchable_texts``, each with its ``position``.
    """
    for chunk in in_chunks(items):
        wanted = {item["position"]: searchable_texts(item) for item in chunk}
        query = select(ITEM_TEXTS).where(
            ITEM_TEXTS.c.shop == shop, is_among(connection, ITEM_TEXTS.c.position, list(wanted))
        )
        outdated = []
        for row in (await connection.execute(query)).mappings():
            if all(row[name] == wanted[row["position"]][name] for name in _TEXTS):
                del wanted[row["position"]]
            else:
                outdated.append(row["position"])
        if outdated:
            await connection.execute(
                delete(ITEM_TEXTS).where(
                    ITEM_TEXTS.c.shop == shop, is_among(connection, ITEM_TEXTS.c.position, outdated)
                )
            )
        if wanted:
            values = [{"shop": shop, "position": position, **texts} for position, texts in wanted.items()]
            await connection.execute(insert(ITEM_TEXTS), values)


async def unindex_items(*, connection: AsyncConnection, shop: str, item_ids: Sequence[str]) -> None:
    """Remove items from the index."""
    for chunk in in_chunks(item_ids):
        positions = select(ITEMS.c.position).where(
            ITEMS.c.shop == shop, is_among(connection, ITEMS.c.id, chunk)
        )
        await connection.execute(
            delete(ITEM_TEXTS).where(ITEM_TEXTS.c.shop == shop, ITEM_TEXTS.c.position.in_(positions))
        )
