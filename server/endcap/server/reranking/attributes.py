"""The attributes that caps count and diversity keeps apart."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from endcap.sdk import AttributeColumn, CatalogView, Rows
from endcap.sdk.errors import InvalidInput


_PREFIX = "attributes."
_FIELDS = ("brand", "categories", "tags", "group_id")

Values: TypeAlias = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field or free attribute with values that items may share; numbers count by value."""

    name: str

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            InvalidInput: The attribute does not exist, or items do not share its values.
        """
        if self.name not in _FIELDS and (not self.name.startswith(_PREFIX) or self.name == _PREFIX):
            raise InvalidInput(
                f'"{self.name}" cannot be counted; use one of {", ".join(_FIELDS)} or attributes.<name>'
            )

    def values(self, view: CatalogView, rows: Rows) -> tuple[Values, NDArray[np.int64]]:
        """Return every value of every row, as a code, and for each the index into ``rows`` that has it."""
        if self.name == "group_id":
            return view.groups[rows].astype(np.int64), np.arange(len(rows))
        column = self._column(view)
        if column is None:
            return np.empty(0), np.empty(0, np.int64)
        if isinstance(column, np.ndarray):
            numbers = column[rows]
            owners = np.flatnonzero(~np.isnan(numbers))
            return numbers[owners], owners
        starts = column.offsets[rows]
        lengths = column.offsets[rows + 1] - starts
        ends = np.cumsum(lengths)
        flat = np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)
        return column.codes[flat].astype(np.int64), np.repeat(np.arange(len(rows)), lengths)

    def holding(self, view: CatalogView, values: Collection[float]) -> NDArray[np.bool_]:
        """Return the rows of a view that have at least one of some values, given as by ``values``."""
        if self.name == "group_id":
            return np.isin(view.groups, list(values))
        column = self._column(view)
        if column is None:
            return np.zeros(len(view), np.bool_)
        if isinstance(column, np.ndarray):
            return np.isin(column, list(values))
        return column.sharing(column.names[int(code)] for code in values)

    def _column(self, view: CatalogView) -> AttributeColumn | None:
        fields = {"brand": view.brands, "categories": view.categories, "tags": view.tags}
        return fields.get(self.name, view.attributes.get(self.name.removeprefix(_PREFIX)))
