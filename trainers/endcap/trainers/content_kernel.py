"""The likeness of items by their texts and attributes, as the factor of a kernel."""

import numpy as np
from scipy import sparse

from endcap.sdk import CatalogView
from endcap.sdk.content_features import TermIndex, is_label, item_terms
from endcap.trainers.content import LABELS, inverse_frequencies, known_terms


MOST_TERMS = 50_000
"""At most this many terms, those in most items first."""


def content_factor(view: CatalogView) -> sparse.csr_array:
    """Return ``X``, ``(items, terms)`` float32, whose ``X Xᵀ`` is the likeness of every two items.

    A term weighs ``(1 + ln count) · idf``. An item's words have length 1 together, its labels ``√LABELS``, so
    two items of equal texts and labels have the likeness ``1 + LABELS``. An item without any has none.
    """
    documents = list(item_terms(view))
    terms = known_terms(documents, MOST_TERMS)
    index = TermIndex(terms)
    counts = index.count(documents)
    # Unknown words share buckets, which say nothing about what two items have in common.
    known = counts.terms < len(terms)
    owners = np.repeat(np.arange(len(counts)), np.diff(counts.offsets))[known]
    columns, values = counts.terms[known], 1 + np.log(counts.counts[known])
    values = values * inverse_frequencies(counts, len(index)).numpy()[columns]
    labels = np.array([is_label(term) for term in terms], np.bool_)[columns]
    parts = 2 * owners + labels  # an item's words and its labels are scaled apart
    lengths = np.sqrt(np.bincount(parts, values**2, minlength=2 * len(counts)))
    values = values / lengths[parts] * np.where(labels, LABELS**0.5, 1)
    return sparse.csr_array((values.astype(np.float32), (owners, columns)), shape=(len(counts), len(terms)))
