"""The plugin author's side: everything here is public and keeps its meaning within a major version."""

from endcap.sdk.catalog_view import (
    EVENT_WEIGHTS,
    AttributeColumn,
    AttributeValue,
    CatalogView,
    EventColumns,
    ItemColumns,
    Labels,
    build_view,
)
from endcap.sdk.hookspecs import RegisterStrategy, hookimpl
from endcap.sdk.model import Model, Role, Tensors, TensorSpec
from endcap.sdk.parameters import NoParameters, parameter
from endcap.sdk.query import (
    NO_RANKING,
    NO_ROWS,
    Eligibility,
    History,
    Query,
    Ranking,
    Reason,
    Task,
)
from endcap.sdk.ranking import recommend_by_score, top
from endcap.sdk.strategy import Resources, ScoringStrategy, Strategy, StrategyFactory
from endcap.sdk.vocabulary import UNKNOWN, Alignment, Rows, Scores, Vocabulary, align


__all__ = [
    "EVENT_WEIGHTS",
    "NO_RANKING",
    "NO_ROWS",
    "UNKNOWN",
    "Alignment",
    "AttributeColumn",
    "AttributeValue",
    "CatalogView",
    "Eligibility",
    "EventColumns",
    "History",
    "ItemColumns",
    "Labels",
    "Model",
    "NoParameters",
    "Query",
    "Ranking",
    "Reason",
    "RegisterStrategy",
    "Resources",
    "Role",
    "Rows",
    "Scores",
    "ScoringStrategy",
    "Strategy",
    "StrategyFactory",
    "Task",
    "TensorSpec",
    "Tensors",
    "Vocabulary",
    "align",
    "build_view",
    "hookimpl",
    "parameter",
    "recommend_by_score",
    "top",
]
