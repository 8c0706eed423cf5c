"""Search: the items whose words match a text, best first.

Matches come in tiers; a tier is queried only while items are missing:

1. every word of the text, in any of its forms; items come first if a title, in any language, has no other
   word;
2. every word, where the last word may be incomplete;
3. some of the words.

Within a tier the database ranks: SQLite by BM25, PostgreSQL by ``ts_rank``, which ignores how rare a
word is. A word weighs most in a title, less in a label, least in a description.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from endcap.catalog.items.search_index import indexed_words, word_forms
from endcap.sdk.text import tokenize


MAX_WORDS = 64
"""The largest number of distinct words of a query; further words are ignored."""


@dataclass(frozen=True, slots=True)
class Match:
    """An item that matches."""

    position: int
    """Its row in every view."""

    score: float
    """A whole number for the kind of match plus the rank as a share of the best rank of the tier, at most 1.
    The number is 3 if a title equals the text, 2 for every word, 1 for every word with the last one
    incomplete, and 0 for some of the words."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    """The SQL of a search on one database."""

    statement: TextClause
    """Parameters: ``expression``, ``shop``, ``title`` (one line), ``allowed`` (one byte a position), ``yes``
    (the byte of allowed positions) and ``limit``. Rows, best first: position, rank above 0, and whether
    ``title`` is among the lines of the titles."""

    quote: str
    begins: str
    """The suffix of a quoted word that may be incomplete."""

    and_: str
    or_: str

    def some(self, parts: Sequence[str]) -> str:
        return f"({self.or_.join(parts)})"

    def word(self, word: str) -> str:
        # Words hold only letters and digits, so a word cannot end the quotes.
        return f"{self.quote}{word}{self.quote}"


_DIALECTS: Mapping[str, _Dialect] = {
    "sqlite": _Dialect(
        text(
            "SELECT position, -bm25(item_words, 10, 4, 1) AS rank,"
            " instr(char(10) || item_texts.title || char(10), :title) > 0 AS is_title"
            " FROM item_words JOIN item_texts ON sequence = item_words.rowid"
            " WHERE item_words MATCH :expression AND shop = :shop"
            " AND substr(:allowed, position + 1, 1) = :yes"
            " ORDER BY is_title DESC, rank DESC, position LIMIT :limit"
        ),
        quote='"',
        begins=" *",
        and_=" AND ",
        or_=" OR ",
    ),
    "postgresql": _Dialect(
        # The weights are those of nothing, description, label and title; 1 divides by 1 + log(length).
        text(
            "SELECT position, ts_rank('{0, 0.1, 0.4, 1}', words, wanted, 1) AS rank,"
            " strpos(chr(10) || title || chr(10), :title) > 0 AS is_title"
            " FROM item_texts, to_tsquery('simple', :expression) AS wanted"
            " WHERE words @@ wanted AND shop = :shop"
            " AND substr(CAST(:allowed AS bytea), CAST(position AS integer) + 1, 1) = CAST(:yes AS bytea)"
            " ORDER BY is_title DESC, rank DESC, position LIMIT :limit"
        ),
        quote="'",
        begins=":*",
        and_=" & ",
        or_=" | ",
    ),
}


async def search_items(
    *, connection: AsyncConnection, shop: str, text: str, allowed: NDArray[np.bool_], limit: int
) -> list[Match]:
    """Return the items of a shop that match a text, best first.

    Args:
        connection: A connection that reads or writes.
        shop: The shop's id.
        text: The search text; only its words have a meaning.
        allowed: Whether each item may be returned, by position; positions beyond the end are not allowed.
        limit: The largest number to return.
    """
    dialect = _DIALECTS[connection.dialect.name]
    values = {
        "shop": shop,
        "title": f"\n{indexed_words(text)}\n",
        "allowed": allowed.tobytes(),
        "yes": np.True_.tobytes(),
        "limit": limit,
    }
    found: dict[int, Match] = {}
    for base, expression in _expressions(list(dict.fromkeys(tokenize(text)))[:MAX_WORDS], dialect):
        rows = (await connection.execute(dialect.statement, {**values, "expression": expression})).all()
        best = max((row.rank for row in rows), default=0.0)
        for position, rank, is_title in rows:
            if len(found) < limit and position not in found:
                found[position] = Match(position, base + bool(is_title) + rank / best)
        if len(found) == limit:
            break
    return list(found.values())


def _expressions(words: Sequence[str], dialect: _Dialect) -> Iterator[tuple[int, str]]:
    """Yield the whole number of the scores of each tier, and the tier's expression."""
    if not words:
        return
    whole = [dialect.some([dialect.word(form) for form in word_forms(word)]) for word in words]
    begun = dialect.some([whole[-1], dialect.word(words[-1]) + dialect.begins])
    yield 2, dialect.and_.join(whole)
    yield 1, dialect.and_.join([*whole[:-1], begun])
    if len(words) > 1:
        yield 0, dialect.some([*whole[:-1], begun])
