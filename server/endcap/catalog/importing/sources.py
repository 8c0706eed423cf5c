"""The sources of an import: files, and the mapping of their columns."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from endcap.catalog.importing.rows import COLUMNS, ONE_OF_EACH, Subject
from endcap.catalog.importing.table_files.opening import FORMATS
from endcap.sdk.errors import InvalidInput


Assignments = Mapping[Subject, Mapping[str, str]]
"""Texts by column, by subject."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and the subject of its rows."""

    subject: Subject
    path: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The mapping from an import's columns to the columns of files."""

    names: Assignments = field(default_factory=dict)
    """The names in the files, by column."""

    values: Assignments = field(default_factory=dict)
    """Constant values of columns that the files lack, by column."""

    def __str__(self) -> str:
        return repr((self.names, self.values))


AS_IT_IS = Layout()

_MOST_NAMED = 20


def find_sources(folder: Path) -> list[Source]:
    """Return the files of a folder that are named ``items``, ``users`` and ``events``.

    Raises:
        InvalidInput: The folder has no such file, or two files of one name.
    """
    sources = []
    for subject in Subject:
        found = [path for ending in FORMATS if (path := folder / f"{subject}{ending}").is_file()]
        if len(found) > 1:
            raise InvalidInput(
                f"{folder} holds {' and '.join(path.name for path in found)}: name one with --{subject}"
            )
        sources += [Source(subject, path) for path in found]
    if not sources:
        raise InvalidInput(
            f"{folder} holds no file named items, users or events: name its files so,"
            f" with one of the endings {', '.join(FORMATS)}"
        )
    return sources


def parse_assignments(texts: Iterable[str]) -> Assignments:
    """Parse ``column=text``, for every subject with that column, and ``subject.column=text``.

    Raises:
        InvalidInput: A text has neither form, or its column does not exist.
    """
    general: dict[Subject, dict[str, str]] = {subject: {} for subject in Subject}
    particular: dict[Subject, dict[str, str]] = {subject: {} for subject in Subject}
    for text in texts:
        target, equals, value = text.partition("=")
        if not equals or not value:
            raise InvalidInput(f"{text!r} is not an assignment: write it as item_id=StockCode")
        scope, dot, name = target.rpartition(".")
        subjects = [subject for subject in Subject if not dot or subject == scope]
        having = [subject for subject in subjects if name in _names(subject)]
        if not having:
            known = dict.fromkeys(name for subject in subjects or Subject for name in _names(subject))
            raise InvalidInput(f"column {target!r} does not exist: choose among {', '.join(known)}")
        for subject in having:
            (particular if dot else general)[subject][name] = value
    return {subject: general[subject] | particular[subject] for subject in Subject}


def find_columns(
    source: Source, found: Sequence[str], layout: Layout, *, may_have_others: bool
) -> dict[str, str]:
    """Return the file's names of the subject's columns that the file has.

    Args:
        source: The file and its subject.
        found: The known names of the file's columns.
        layout: The names that the file gives columns.
        may_have_others: Whether the file may have further columns.

    Raises:
        InvalidInput: The file lacks a required column or one that the layout names, or has a column twice.
    """
    path, subject = source.path, source.subject
    names = layout.names.get(subject, {})
    values = layout.values.get(subject, {})
    for column, name in names.items():
        if name not in found:
            raise InvalidInput(
                f"{path} has no column {name!r} for {column}: it has {', '.join(map(repr, found))}"
            )
    wanted = {name: names.get(name, name) for name in _names(subject) if name not in values}
    columns = {name: own for name, own in wanted.items() if own in found or may_have_others}
    repeated = [own for own in columns.values() if found.count(own) > 1]
    if repeated:
        raise InvalidInput(f"{path} has two columns {repeated[0]!r}: rename one")
    required = [column.name for column in COLUMNS[subject] if column.required]
    missing = [name for name in required if name not in values and wanted[name] not in found]
    if ONE_OF_EACH[subject] and not any(name in columns or name in values for name in ONE_OF_EACH[subject]):
        missing.append(ONE_OF_EACH[subject][0])
    if missing and found:
        raise InvalidInput(
            f"{path} has no column {missing[0]!r}: it has {', '.join(map(repr, found))};"
            f" map one of these with --map {missing[0]}=NAME"
        )
    return columns


def describe_unread(names: Collection[str], read: frozenset[str], subjects: Iterable[Subject]) -> str:
    """List the columns of a file that are not read, each with the column that was probably meant.

    Args:
        names: The columns that the file has.
        read: The columns that are read.
        subjects: The subjects of the file's rows.

    Returns:
        A note; empty if all columns are read.
    """
    unread = [name for name in dict.fromkeys(names) if name not in read]
    known = [name for subject in subjects for name in _names(subject) if name not in names]
    meant = {name: get_close_matches(re.sub(r"[\W_]+", "_", name.lower()), known, n=1) for name in unread}
    texts = [f"{name!r}" + (f" (is it {meant[name][0]}?)" if meant[name] else "") for name in unread]
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return f"not read: {', '.join(texts[:_MOST_NAMED])}{more}" if texts else ""


def _names(subject: Subject) -> list[str]:
    return [column.name for column in COLUMNS[subject]]
