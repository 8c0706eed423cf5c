"""The report of an import: its rows by what became of them, and the columns that nobody read."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from endcap.catalog.importing.reading import SourceReader
from endcap.catalog.importing.rows import COLUMNS, Subject


_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import in rows, including those from before it was stopped."""

    items: int = 0
    users: int = 0
    events: int = 0

    duplicates: int = 0
    """Events that were there before."""

    rejected: Mapping[str, int] = field(default_factory=dict)
    """Rows that were left out, by file and reason."""

    resumed: bool = False
    """Whether it had been stopped before."""

    notes: Sequence[str] = ()
    """Further notes for the operator."""


def report_import(
    readers: Sequence[SourceReader], *, resumed: bool, notes: Sequence[str] = ()
) -> ImportReport:
    """Put together what readers have read and what became of it."""
    stored = Counter[Subject]()
    rejected = Counter[str]()
    for reader in readers:
        stored[reader.source.subject] += reader.progress.stored
        for reason, count in reader.progress.rejected.items():
            rejected[f"{reader.source.path.name}: {reason}"] += count
    return ImportReport(
        items=stored[Subject.ITEMS],
        users=stored[Subject.USERS],
        events=stored[Subject.EVENTS],
        duplicates=sum(reader.progress.duplicates for reader in readers),
        rejected=rejected,
        resumed=resumed,
        notes=(*_unread(readers), *notes),
    )


def _unread(readers: Sequence[SourceReader]) -> Iterator[str]:
    """Yield for each file the columns that nobody reads."""
    for path in dict.fromkeys(reader.source.path for reader in readers):
        of_path = [reader for reader in readers if reader.source.path == path]
        read = frozenset[str]().union(*(reader.read_names for reader in of_path))
        unread = _describe_unread(of_path[0].names, read, [reader.source.subject for reader in of_path])
        if unread:
            yield f"{path.name}: {unread}"


def _describe_unread(names: Collection[str], read: frozenset[str], subjects: Iterable[Subject]) -> str:
    """Return the columns of a file that are not read, each with the name that was probably meant.

    Args:
        names: The columns that the file has.
        read: Those that are read.
        subjects: What its rows are.

    Returns:
        A sentence; empty where all are read.
    """
    unread = [name for name in dict.fromkeys(names) if name not in read]
    known = [
        name for subject in subjects for column in COLUMNS[subject] if (name := column.name) not in names
    ]
    meant = {name: get_close_matches(re.sub(r"[\W_]+", "_", name.lower()), known, n=1) for name in unread}
    texts = [f"{name!r}" + (f" (is it {meant[name][0]}?)" if meant[name] else "") for name in unread]
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return f"not read: {', '.join(texts[:_MOST_NAMED])}{more}" if texts else ""
