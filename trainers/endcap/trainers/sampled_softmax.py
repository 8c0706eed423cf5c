"""The sampled softmax: cross-entropy against the target and random items in place of the whole catalog."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def sampled_softmax(
    states: Tensor,
    targets: Tensor,
    items: Tensor,
    *,
    negatives: int,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Return the mean cross-entropy of the targets.

    The score of an item is its cosine with the state, divided by the temperature. Negatives are drawn
    uniformly, once for all states, and each stands for ``items / negatives`` items, so that its score grows
    by the logarithm of that (Bengio and Senécal, "Adaptive importance sampling to accelerate training of a
    neural probabilistic language model", 2008). As many negatives as items are the exact softmax.

    Args:
        states: ``(states, embedding size)``.
        targets: The item after each state, ``(states,)``.
        items: The item embeddings, ``(items, embedding size)``.
        negatives: The number of items drawn.
        temperature: Higher spreads the probability over more items.
        generator: Draws the negatives.
    """
    states = functional.normalize(states, dim=1)
    if negatives >= len(items):
        return functional.cross_entropy(states @ functional.normalize(items, dim=1).T / temperature, targets)
    drawn = torch.randint(0, len(items), (negatives,), generator=generator)
    positive = (states * functional.normalize(items[targets], dim=1)).sum(1, keepdim=True) / temperature
    others = states @ functional.normalize(items[drawn], dim=1).T / temperature  # (states, negatives)
    others = others + math.log(len(items) / negatives)
    others = others.masked_fill(drawn == targets[:, None], -torch.inf)
    return (torch.logsumexp(torch.cat([positive, others], dim=1), dim=1) - positive[:, 0]).mean()
