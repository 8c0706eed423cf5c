"""The rules of a placement at work: ``compile_rules`` once, ``Rules.rerank`` for every page."""

from endcap.server.reranking.compiling import compile_rules
from endcap.server.reranking.ranked import RerankContext, ScoredCandidates
from endcap.server.reranking.rules import RequiredCandidates, Reranked, RuleOutcome, Rules


__all__ = [
    "RequiredCandidates",
    "RerankContext",
    "Reranked",
    "RuleOutcome",
    "Rules",
    "ScoredCandidates",
    "compile_rules",
]
