"""The part that all neural sequence models share: hyperparameters, the network's frame, and its training.

A family adds ``states``: a Transformer, a recurrent or a convolutional network over the embeddings.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from endcap.evaluation.metrics import accuracy, ranks_by_score
from endcap.evaluation.ragged import Ragged
from endcap.sdk import Rows, parameter
from endcap.sdk.errors import InvalidInput
from endcap.sdk.sequences import SEQUENCE_INPUTS, SEQUENCE_OUTPUTS, SequenceEncoding, encode_sequences
from endcap.trainers.fitting import fit
from endcap.trainers.interactions import Interactions
from endcap.trainers.sampled_softmax import sampled_softmax
from endcap.trainers.trainer import Progress, TrainedModel
from endcap.trainers.training_sequences import (
    HeldOutUsers,
    by_length,
    hold_out,
    inputs_and_targets,
    user_sequences,
    windows,
)


DENSE = 100
"""With this many events an item on average, unset dropout is ``DENSE_DROPOUT``."""

DENSE_DROPOUT = 0.2
SPARSE_DROPOUT = 0.5

VALIDATION_BATCH = 256


@dataclass(frozen=True)
class SequenceParameters:
    """Hyperparameters of every neural sequence model."""

    embedding_size: int = parameter(
        64,
        "Embedding size; higher tells finer differences apart and needs more data.",
        minimum=4,
        maximum=512,
    )
    length: int = parameter(200, "Items of a history that are read, the last ones.", minimum=1, maximum=1000)
    dropout: float = parameter(
        0.0,
        f"Dropout; higher fits less closely. 0 takes {DENSE_DROPOUT} where an item has {DENSE} events on"
        f" average, and {SPARSE_DROPOUT} where it has fewer.",
        minimum=0,
        maximum=0.9,
    )
    negatives: int = parameter(
        512, "Random items in the softmax; higher is closer to the exact one, and slower.", minimum=1
    )
    temperature: float = parameter(
        0.06, "Temperature of the softmax; higher spreads probability over more items.", minimum=1e-3
    )
    learning_rate: float = parameter(
        0.002, "Learning rate; higher learns faster, less steadily.", minimum=1e-6
    )
    weight_decay: float = parameter(0.01, "Weight decay; higher shrinks weights towards zero.", minimum=0)
    batch_size: int = parameter(1024, "Items in a batch, padding included.", minimum=16)
    epochs: int = parameter(
        100, "Most passes over the data; the best one by held-out users is kept.", minimum=1
    )
    patience: int = parameter(25, "Epochs without a gain after which training stops.", minimum=1)
    max_minutes: float = parameter(
        30.0, "Minutes after which training stops, with the best epoch so far.", minimum=0.01
    )
    seed: int = parameter(0, "Seed of all random numbers.", minimum=0)


class SequenceNetwork(nn.Module):
    """Scores every item as the next one of a sequence. The same embeddings are read and predicted."""

    def __init__(self, item_count: int, parameters: SequenceParameters) -> None:
        super().__init__()
        size = parameters.embedding_size
        self.item_count = item_count
        self.items = nn.Embedding(item_count + 1, size, padding_idx=item_count)
        nn.init.normal_(self.items.weight[:-1], std=size**-0.5)

    @abstractmethod
    def states(self, items: Tensor) -> Tensor:
        """Return the state after each item, ``(sequences, length, embedding size)``.

        Args:
            items: ``(sequences, length)``, left padded with the number of items.
        """

    def forward(self, items: Tensor) -> Tensor:
        """Return the cosine of every item with the last state, ``(sequences, items)``.

        Args:
            items: ``(sequences, length)``, left padded with the number of items.
        """
        # With a padding column in front, an empty sequence has a state too.
        padded = functional.pad(items, (1, 0), value=self.item_count)
        states = functional.normalize(self.states(padded)[:, -1], dim=1)
        return states @ functional.normalize(self.items.weight[:-1], dim=1).T


def train_sequence_model(
    build: Callable[[int, float], SequenceNetwork],
    interactions: Interactions,
    parameters: SequenceParameters,
    progress: Progress,
) -> TrainedModel:
    """Train a network to predict each next item, and keep the epoch that predicts held-out users best.

    Args:
        build: Makes the network for a number of items and a dropout.
        interactions: What there is to learn from.
        parameters: The hyperparameters.
        progress: Told of each epoch.

    Raises:
        InvalidInput: Nobody chose two items.
    """
    item_count, encoding = len(interactions.item_ids), SequenceEncoding(parameters.length)
    generator = np.random.default_rng(parameters.seed)
    drawing = torch.Generator().manual_seed(parameters.seed)
    sequences, held_out = hold_out(user_sequences(interactions.positives), generator)
    training = windows(sequences, parameters.length)
    if not training:
        raise InvalidInput("nobody chose two items, so nothing follows anything: record more events first")
    events = sum(len(rows) for rows in sequences)
    dropout = parameters.dropout or (DENSE_DROPOUT if events >= DENSE * item_count else SPARSE_DROPOUT)

    def loss(batch: Sequence[Rows]) -> Tensor:
        inputs, targets = map(torch.from_numpy, inputs_and_targets(batch, item_count, encoding))
        predicted = targets != item_count
        return sampled_softmax(
            module.states(inputs)[predicted],
            targets[predicted],
            module.items.weight[:-1],
            negatives=parameters.negatives,
            temperature=parameters.temperature,
            generator=drawing,
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        module = build(item_count, dropout)
        fitted = fit(
            module,
            lambda: by_length(training, parameters.batch_size, generator),
            loss,
            epochs=parameters.epochs,
            learning_rate=parameters.learning_rate,
            weight_decay=parameters.weight_decay,
            patience=parameters.patience,
            max_minutes=parameters.max_minutes,
            validate=(lambda: held_out_ndcg(module, held_out, item_count, encoding))
            if held_out.histories
            else None,
            progress=progress,
        )
    return TrainedModel(
        module=module.eval(),
        inputs=SEQUENCE_INPUTS,
        outputs=SEQUENCE_OUTPUTS,
        item_ids=interactions.item_ids,
        state={"encoding": encoding.to_json(), "positives": interactions.definition.to_json()},
        metrics={"best_epoch": fitted.best_epoch, "held_out_ndcg@10": max(fitted.validation, default=0.0)},
    )


def held_out_ndcg(
    module: nn.Module, held_out: HeldOutUsers, item_count: int, encoding: SequenceEncoding
) -> float:
    """Return the mean NDCG@10 of the targets among all items that are not in the histories."""
    gains = []
    for start in range(0, len(held_out.targets), VALIDATION_BATCH):
        own = slice(start, start + VALIDATION_BATCH)
        histories, targets = held_out.histories[own], held_out.targets[own]
        with torch.inference_mode():
            encoded = torch.from_numpy(encode_sequences(histories, item_count, encoding))
            scores = module(encoded).numpy()
        for line, rows in zip(scores, histories, strict=True):
            line[rows] = np.nan
        relevant = Ragged(targets, np.arange(len(targets) + 1))
        gains.append(accuracy(ranks_by_score(scores, relevant), relevant, [10])["ndcg@10"])
    return float(np.concatenate(gains).mean())
