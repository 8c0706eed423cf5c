"""What the rungs of a ladder have named for one answer, so far."""

from dataclasses import dataclass, field

import numpy as np

from endcap.sdk import NO_ROWS, Ranking, Reason, Rows, Scores


@dataclass(slots=True, eq=False)
class Pool:
    """Distinct rows, in the order in which they were asked for and then of their scores."""

    rows: Rows = field(default_factory=lambda: NO_ROWS)
    scores: Scores = field(default_factory=lambda: np.empty(0, np.float32))

    rungs: Rows = field(default_factory=lambda: NO_ROWS)
    """The rung that named each row."""

    rounds: Rows = field(default_factory=lambda: NO_ROWS)
    """How often something had been asked when each row was named, ascending: what one strategy is asked
    for later never moves what it named before."""

    reasons: list[tuple[Reason, ...]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rung: int, rankings: list[Ranking], *, joined: bool = False) -> int:
        """Take in what one rung answered at the same time, and return how many rows were new.

        A row that is known keeps the place it has. Rows that are joined count as named when those before
        them were.
        """
        known = len(self)
        named = np.concatenate([ranking.rows for ranking in rankings])
        first = np.sort(np.unique(np.concatenate([self.rows, named]), return_index=True)[1])
        new = first[first >= known] - known
        scores = np.concatenate([ranking.scores for ranking in rankings])
        new = new[np.argsort(-scores[new], kind="stable")]
        reasons = [reason for ranking in rankings for reason in ranking.reasons or ((),) * len(ranking)]
        self.rows = np.concatenate([self.rows, named[new]])
        self.scores = np.concatenate([self.scores, scores[new]])
        self.rungs = np.concatenate([self.rungs, np.full(len(new), rung, np.int32)])
        asked = self.rounds[-1] + (not joined) if known else 0
        self.rounds = np.concatenate([self.rounds, np.full(len(new), asked, np.int32)])
        self.reasons += [reasons[place] for place in new]
        return len(new)
