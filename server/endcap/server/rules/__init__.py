"""The rules of a placement at work: ``compile_rules`` once, ``Rules.rerank`` for every page."""

from endcap.server.rules.compiling import compile_rules
from endcap.server.rules.outcomes import RuleOutcome
from endcap.server.rules.pool import RerankContext, ScoredCandidates
from endcap.server.rules.rules import NamedFilter, RequiredCandidates, Reranked, Rules


__all__ = [
    "NamedFilter",
    "RequiredCandidates",
    "RerankContext",
    "Reranked",
    "RuleOutcome",
    "Rules",
    "ScoredCandidates",
    "compile_rules",
]
