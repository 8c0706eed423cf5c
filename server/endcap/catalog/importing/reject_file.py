"""The file of rejected rows, for people and spreadsheets: a CSV with file, line, reason and row."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import polars as pl

from endcap.catalog.importing.reading import Batch
from endcap.catalog.importing.storing import RowRejection
from endcap.sdk.errors import FailedPrecondition, InvalidInput


_HEADER = ("file", "line", "reason", "row")


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected row."""

    line: int
    reason: str
    row: str
    """The cells as JSON, or the beginning of the line if it has no columns."""

    complaint: str = ""
    """Details of this row's fault; empty if the reason is enough."""


class RejectFile:
    """Appends rejected rows to a file, which is created with the first row. Without a path, it drops them."""

    def __init__(self, path: Path | None, *, size: int) -> None:
        """Cut the file to a size, after which rows are appended; a file that would be empty is deleted.

        Args:
            path: The file; None to write no file.
            size: Bytes to keep; rows after them will be written again.

        Raises:
            InvalidInput: The file exists and is not a file of rejected rows.
            FailedPrecondition: The file cannot be written.
        """
        self._path = path
        self.lost = path is not None and (path.stat().st_size if path.exists() else 0) < size
        """Whether the file is shorter than ``size``, so that earlier rows are lost."""
        if path is None:
            return
        header = ",".join(_HEADER).encode()
        try:
            if path.exists():
                with path.open("r+b") as stream:
                    if stream.read(len(header)) not in {header, b""}:
                        raise InvalidInput(
                            f"{path} is not a file of rejected rows: name another file with --rejects"
                        )
                    stream.truncate(min(size, path.stat().st_size))
                if size == 0:
                    path.unlink()
        except OSError as error:
            raise _unwritable(path, error) from None

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return 0 if self._path is None or not self._path.exists() else self._path.stat().st_size

    def write(self, file: str, batch: Batch, refused: Mapping[int, RowRejection]) -> Counter[str]:
        """Append the rows of a batch that are left out, and count them by reason.

        Args:
            file: The name of the batch's file.
            batch: The batch.
            refused: Why rows were not stored, by their places among those that can be.

        Raises:
            FailedPrecondition: The file of rejected rows cannot be written.
        """
        malformed = [Reject(found.line, found.reason, found.text) for found in batch.malformed]
        rejects = sorted([*malformed, *_rejects(batch.bad, batch.columns)], key=attrgetter("line"))
        if refused:
            why = pl.DataFrame(
                {
                    "line": batch.lines.gather(list(refused)),
                    "reason": [rejection.reason for rejection in refused.values()],
                    "complaint": [rejection.complaint for rejection in refused.values()],
                }
            )
            rejects += _rejects(batch.texts.join(why, on="line"), batch.columns)
        self._append(file, rejects)
        return Counter(reject.reason for reject in rejects)

    def _append(self, file: str, rejects: Sequence[Reject]) -> None:
        rows = [
            (file, reject.line, ": ".join(filter(None, (reject.reason, reject.complaint))), reject.row)
            for reject in rejects
        ]
        if self._path is None or not rows:
            return
        try:
            with self._path.open("a", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                if stream.tell() == 0:
                    writer.writerow(_HEADER)
                writer.writerows(rows)
        except OSError as error:
            raise _unwritable(self._path, error) from None


def _rejects(bad: pl.DataFrame, columns: Mapping[str, str]) -> list[Reject]:
    rejects = []
    for row in bad.to_dicts():
        line, reason, complaint = row.pop("line"), row.pop("reason"), row.pop("complaint")
        # Under the names of the file, which is where the operator looks to mend it.
        texts = {columns.get(name, name): text for name, text in row.items() if text is not None}
        rejects.append(Reject(line, reason, json.dumps(texts, ensure_ascii=False), complaint))
    return rejects


def _unwritable(path: Path, error: OSError) -> FailedPrecondition:
    return FailedPrecondition(
        f"{path} cannot be written ({error.strerror}): name a writable file with --rejects"
    )
