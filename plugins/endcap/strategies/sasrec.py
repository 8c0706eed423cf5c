"""SASRec: a Transformer that reads a user's history in order and predicts the next item.

Kang and McAuley, "Self-Attentive Sequential Recommendation" (ICDM 2018); the trainer of the same name says
how its network differs.
"""

from endcap.sdk import RegisterStrategy, hookimpl
from endcap.sdk.sequences import SequenceRecommender


class Sasrec(SequenceRecommender):
    """Recommends the items whose embeddings are nearest to the state after the history."""

    model_name = "sasrec"


@hookimpl
def register_strategies(register: RegisterStrategy) -> None:
    """Offer ``sasrec``."""
    register("sasrec", Sasrec)
