"""The settings of an evaluation."""

from enum import StrEnum


class Setting(StrEnum):
    """The events that models are trained on before their test."""

    STRICT = "strict"
    """All but the validation events, which the history of a test query holds."""

    REFIT = "refit"
    """The validation events too."""


VALIDATION = "validation"
"""The word for choosing parameters: models are trained as in strict and judged on the validation events. The
test is no part of what they get."""
