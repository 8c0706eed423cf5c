"""Shared by items and users: fields written one by one, labels, languages, creation times."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from endcap.catalog.fields.checks import check_language
from endcap.catalog.fields.limits import MAX_LEAD, check_limit, check_text
from endcap.sdk.errors import InvalidInput
from endcap.server.api.convert.fields import Fields
from endcap.server.api.convert.selections import Selection


Readers: TypeAlias = Mapping[str, Callable[[Fields], Any]]
"""Readers of the fields that can be written, by name."""


def read_values(fields: Fields, selection: Selection, readers: Readers, *, now: int) -> dict[str, Any]:
    """Read the fields that a write names; the others are not looked at.

    Args:
        fields: The item or user.
        selection: What is written.
        readers: Of every field but ``create_time``.
        now: Unix milliseconds.

    Returns:
        The values by name, as the catalog calls them.

    Raises:
        InvalidInput: A field is missing, too long or out of range.
    """
    values = {name: read(fields) for name, read in readers.items() if name in selection.fields}
    if "create_time" in selection.fields:
        values["created_time"] = _create_time(fields, now)
    return values


def read_language(fields: Fields, name: str = "language_code") -> str:
    """Read a BCP 47 tag that may be empty.

    Raises:
        InvalidInput: The value is invalid.
    """
    code: str = getattr(fields.message, name)
    check_language(code, path=fields.path_of(name))
    return code


def read_labels(fields: Fields, name: str) -> tuple[str, ...]:
    """Read a list of texts, none of them empty.

    Raises:
        InvalidInput: There are too many, or one is too long or empty.
    """
    labels = tuple(getattr(fields.message, name))
    check_limit(name, labels, path=fields.path_of(name))
    for index, label in enumerate(labels):
        path = f"{fields.path_of(name)}[{index}]"
        check_text(f"{name} value", label, path=path)
        if not label:
            raise InvalidInput(f"{path} must not be empty: leave it out", field=path)
    return labels


def _create_time(fields: Fields, now: int) -> int | None:
    """Read when the shop took something in; None where that is not said."""
    time = fields.time("create_time")
    if time is not None and time > now + MAX_LEAD:
        raise fields.rejection("create_time", f"lies more than {MAX_LEAD // 1000} seconds in the future")
    return time
