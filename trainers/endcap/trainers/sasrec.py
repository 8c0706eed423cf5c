"""SASRec: a Transformer over a user's items in order, trained to predict each next one.

Kang and McAuley, "Self-Attentive Sequential Recommendation" (ICDM 2018), with the changes that made it strong
again: layers are normalised before attention and feed-forward (Xiong et al., "On layer normalization in the
Transformer architecture", ICML 2020), and a sampled softmax over cosines replaces the binary loss with one
negative (Klenitskiy and Vasilev, "Turning dross into gold loss", RecSys 2023). Positions are counted back
from the newest item.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from endcap.sdk import parameter
from endcap.sdk.errors import InvalidInput
from endcap.trainers.interactions import Interactions
from endcap.trainers.sequence_training import SequenceNetwork, SequenceParameters, train_sequence_model
from endcap.trainers.trainer import Progress, TrainedModel


@dataclass(frozen=True)
class SasrecParameters(SequenceParameters):
    """Hyperparameters of ``sasrec``."""

    layers: int = parameter(
        2, "Transformer layers; higher combines items in more steps.", minimum=1, maximum=8
    )
    heads: int = parameter(
        2, "Attention heads; their number divides the embedding size.", minimum=1, maximum=16
    )


class SasrecNetwork(SequenceNetwork):
    """Reads sequences by self-attention."""

    def __init__(self, item_count: int, parameters: SasrecParameters, dropout: float) -> None:
        super().__init__(item_count, parameters)
        size = parameters.embedding_size
        self.positions = nn.Parameter(0.02 * torch.randn(parameters.length, size))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(size, parameters.heads, dropout) for _ in range(parameters.layers)
        )
        self.normalise = nn.LayerNorm(size)

    def states(self, items: Tensor) -> Tensor:
        """Return the state after each item, ``(sequences, length, embedding size)``."""
        length = items.shape[1]
        # A longer sequence than the network was trained on shares the position of its oldest items.
        ages = torch.arange(length).flip(0).clamp(max=len(self.positions) - 1)
        earlier = torch.ones(length, length, dtype=torch.bool).tril()
        # A padding position sees itself alone, for a softmax over nothing is no number.
        visible = (earlier & items.ne(self.item_count)[:, None]) | torch.eye(length, dtype=torch.bool)
        hidden = self.dropout(self.items(items) + self.positions[ages])
        for layer in self.layers:
            hidden = layer(hidden, visible.unsqueeze(1))
        normalised: Tensor = self.normalise(hidden)
        return normalised


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each normalised before and added to its input."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_feed_forward = nn.LayerNorm(size), nn.LayerNorm(size)
        self.queries_keys_values = nn.Linear(size, 3 * size)
        self.mix = nn.Linear(size, size)
        self.feed_forward = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, visible: Tensor) -> Tensor:
        """Return the next states.

        Args:
            hidden: ``(sequences, length, size)``.
            visible: Which positions each position may read, ``(sequences, 1, length, length)``.
        """
        split = self.queries_keys_values(self.before_attention(hidden)).unflatten(-1, (3, self.heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # (sequences, heads, length, size / heads) each
        read = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible)
        hidden = hidden + self.dropout(self.mix(read.transpose(1, 2).flatten(2)))
        following: Tensor = hidden + self.dropout(self.feed_forward(self.before_feed_forward(hidden)))
        return following


class SasrecTrainer:
    """Trains by gradient descent and keeps the best epoch by held-out users."""

    name = "sasrec"
    parameters: type[Any] = SasrecParameters

    def train(
        self, interactions: Interactions, parameters: SasrecParameters, progress: Progress
    ) -> TrainedModel:
        """Train the network.

        Raises:
            InvalidInput: The heads do not divide the embedding size, or nobody chose two items.
        """
        if parameters.embedding_size % parameters.heads:
            raise InvalidInput(
                f"{parameters.heads} heads do not divide an embedding size of {parameters.embedding_size}:"
                " choose a multiple",
                field="heads",
            )
        return train_sequence_model(
            lambda item_count, dropout: SasrecNetwork(item_count, parameters, dropout),
            interactions,
            parameters,
            progress,
        )


trainer = SasrecTrainer()
