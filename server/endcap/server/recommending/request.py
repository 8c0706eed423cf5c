"""One Recommend call in the platform's own terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from endcap.sdk import Task
from endcap.sdk.errors import InvalidInput
from endcap.sdk.filters import Filter


@dataclass(frozen=True, slots=True)
class RecommendationRequest:
    """The request of a client, checked against the limits."""

    request_id: str
    placement: str

    time: int
    """Unix milliseconds at which the call came in."""

    user_id: str = ""
    visitor_id: str = ""
    item_ids: tuple[str, ...] = ()
    candidate_item_ids: tuple[str, ...] = ()
    exclude_item_ids: tuple[str, ...] = ()
    text: str = ""

    filter: Filter | None = None
    """The condition that every item must meet; None for no condition."""

    shown: tuple[int, ...] = ()
    """Rows on the pages before this one."""

    page_size: int = 0
    """The number of items; 0 for the placement's page size."""

    context: Mapping[str, str] = field(default_factory=dict)

    language: str = ""
    """BCP 47 tag of the language that the user reads; empty if unknown."""

    explain: bool = False

    trace: bool = False
    """Whether to report what each rule did, which costs more than the rules themselves."""

    minimum_revision: int = 0
    """The answer must know every write up to this revision."""

    def check(self, task: Task) -> None:
        """Check that the request holds what a task starts from.

        Raises:
            InvalidInput: What the task starts from is missing, or candidates are named for another task.
        """
        if task in {Task.SIMILAR, Task.RELATED} and not self.item_ids:
            raise InvalidInput(f"the task {task} starts from items: send item_ids", field="item_ids")
        if task is Task.SEARCH and not self.text.strip():
            raise InvalidInput("the task search needs what the user typed: send query", field="query")
        if (task is Task.RANK) != bool(self.candidate_item_ids):
            raise InvalidInput(
                "candidate_item_ids are required for the task rank and rejected for any other",
                field="candidate_item_ids",
            )
