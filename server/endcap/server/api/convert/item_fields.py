"""The fields of items that an answer carries on request."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from google.protobuf.field_mask_pb2 import FieldMask

from endcap.catalog.items.items import Item
from endcap.server.api.convert.items import COLUMNS, write_item
from endcap.server.api.convert.selections import Selection, read_selection
from endcap.v1 import item_pb2


_WITHHELD = {"id", "localized_texts", "cost", "etag"}
"""Fields of items that answers do not carry: the cost is the shop's own, and language chooses the texts."""

_FIELDS = tuple(field.name for field in item_pb2.Item.DESCRIPTOR.fields if field.name not in _WITHHELD)
_TEXTS = {"title", "description", "language_code"}


@dataclass(frozen=True, slots=True)
class ItemFields:
    """The fields that a request names, and the language of their texts."""

    selection: Selection

    language: str
    """BCP 47 tag in lower case; empty for each item's own language. An item without texts in the language is
    written with those in the language without its region, or else with its own."""

    @classmethod
    def read(cls, mask: FieldMask, language_code: str) -> Self:
        """Read the fields of items that an answer carries.

        Args:
            mask: Paths of fields, such as ``price`` or ``attributes.colour``.
            language_code: BCP 47 tag of the titles and descriptions.

        Raises:
            InvalidInput: A path names no field that answers may carry, or there are too many.
        """
        selection = read_selection(mask, fields=_FIELDS, maps=("attributes",), ignored=(), name="item_fields")
        return cls(selection, language_code.lower())

    @property
    def columns(self) -> frozenset[str]:
        """The names in ``Item`` of all that the fields are written from."""
        chosen = self.selection.fields.union(self.selection.entries)
        columns = frozenset(column for field in chosen for column in COLUMNS.get(field, (field,)))
        if self.language and chosen & _TEXTS:
            return columns | {"language_code", "localized_texts"}
        return columns

    def write(self, items: Iterable[Item], *, currency: str) -> dict[str, item_pb2.Item]:
        """Write the fields of items, by item id.

        Args:
            items: The items of an answer.
            currency: The shop's, for items that name none.
        """
        names = self.selection.fields.union(self.selection.entries)
        return {item.id: write_item(self._chosen(item), currency=currency, fields=names) for item in items}

    def _chosen(self, item: Item) -> Item:
        """Return an item with the texts of the language and the attributes that are named."""
        if self.language and item.localized_texts and item.language_code.lower() != self.language:
            item = self._localized(item)
        names = self.selection.entries.get("attributes")
        if names is None:
            return item
        return replace(
            item, attributes={name: item.attributes[name] for name in names & item.attributes.keys()}
        )

    def _localized(self, item: Item) -> Item:
        tags = {tag.lower(): tag for tag in item.localized_texts}
        tag = tags.get(self.language) or tags.get(self.language.partition("-")[0])
        if tag is None:
            return item
        texts = item.localized_texts[tag]
        return replace(
            item,
            title=texts.get("title") or item.title,
            description=texts.get("description") or item.description,
            language_code=tag,
        )
