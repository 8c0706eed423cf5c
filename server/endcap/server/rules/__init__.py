"""The rules of a placement at work: ``compile_rules`` once, ``Rules.arrange`` for every page."""

from endcap.server.rules.compiling import compile_rules
from endcap.server.rules.outcomes import RuleOutcome
from endcap.server.rules.pool import Candidates, Context
from endcap.server.rules.rules import Arranged, NamedFilter, Rules, Want


__all__ = [
    "Arranged",
    "Candidates",
    "Context",
    "NamedFilter",
    "RuleOutcome",
    "Rules",
    "Want",
    "compile_rules",
]
