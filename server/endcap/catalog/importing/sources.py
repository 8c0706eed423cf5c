"""The sources of an import: files, and the mapping of their columns."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from endcap.catalog.importing.cells import Kind
from endcap.catalog.importing.rows import COLUMNS, ONE_OF_EACH, Subject
from endcap.catalog.importing.table_files.opening import FORMATS, open_table_file
from endcap.catalog.importing.table_files.table_file import TableFile
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

_SAMPLE_BYTES = 65_536


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


def find_columns(file: TableFile, subject: Subject, layout: Layout) -> dict[str, str]:
    """Return the file's own names of the subject's columns that it has.

    Raises:
        InvalidInput: It lacks a column that it is said to have, or one that is required.
    """
    found = file.names
    names = layout.names.get(subject, {})
    values = layout.values.get(subject, {})
    for column, name in names.items():
        if name not in found:
            raise InvalidInput(
                f"{file.path} has no column {name!r} for {column}: it has {', '.join(map(repr, found))}"
            )
    wanted = {name: names.get(name, name) for name in _names(subject) if name not in values}
    columns = {name: source for name, source in wanted.items() if source in found or not file.has_header}
    repeated = [source for source in columns.values() if found.count(source) > 1]
    if repeated:
        raise InvalidInput(f"{file.path} has two columns {repeated[0]!r}: rename one")
    required = [column.name for column in COLUMNS[subject] if column.required]
    missing = [name for name in required if name not in values and wanted[name] not in found]
    if ONE_OF_EACH[subject] and not any(name in columns or name in values for name in ONE_OF_EACH[subject]):
        missing.append(ONE_OF_EACH[subject][0])
    if missing and found:
        raise InvalidInput(
            f"{file.path} has no column {missing[0]!r}: it has {', '.join(map(repr, found))};"
            f" map one of these with --map {missing[0]}=NAME"
        )
    return columns


def has_amounts(source: Source, layout: Layout) -> bool:
    """Return whether a file has amounts of money, as far as its columns are known before it is read.

    Raises:
        InvalidInput: The file is missing or cannot be read, or its format is unknown.
    """
    names = layout.names.get(source.subject, {})
    amounts = [column.name for column in COLUMNS[source.subject] if column.kind is Kind.AMOUNT]
    found = [*layout.values.get(source.subject, {}), *open_table_file(source.path).names]
    return any(name in found or names.get(name) in found for name in amounts)


def fingerprint(source: Source, layout: Layout, currency: str) -> str:
    """Return a fingerprint of a file: of its size, time, beginning and end.

    Args:
        source: The file.
        layout: How its rows are read, as well as by ``currency``.
        currency: ISO 4217 code of the prices of rows that name none; empty for the shop's.
    """
    digest = hashlib.blake2b(digest_size=16)
    about = source.path.stat()
    with source.path.open("rb") as stream:
        beginning = stream.read(_SAMPLE_BYTES)
        stream.seek(max(0, about.st_size - _SAMPLE_BYTES))
        end = stream.read(_SAMPLE_BYTES)
    for part in (f"{about.st_size} {about.st_mtime_ns}", source.subject, str(layout), currency):
        digest.update(part.encode() + b"\x1f")
    digest.update(beginning)
    digest.update(end)
    return digest.hexdigest()


def _names(subject: Subject) -> list[str]:
    return [column.name for column in COLUMNS[subject]]
