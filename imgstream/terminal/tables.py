"""Tables for the terminal. File names are hostile: they are never read as markup, and never printed raw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from imgstream.prediction.rows import Prediction, StoredPrediction
from imgstream.wording import amount as amount
from imgstream.wording import printable as printable

MOST_ROWS = 20


def prediction_table(first: Sequence[Prediction | StoredPrediction], total: int) -> Table:
    """The first predictions, at most MOST_ROWS of them, as path, label and score; a caption gives their `total` if there are more."""
    shown = first[:MOST_ROWS]
    table = Table("path", "label", caption=f"the first {len(shown):,} of {total:,}" if total > len(shown) else None)
    table.add_column("score", justify="right")
    for prediction in shown:
        outcome = Text(printable(prediction.error or prediction.label or ""), "red" if prediction.error else "")
        score = "" if prediction.score is None else f"{prediction.score:.3f}"
        table.add_row(_name(prediction.path), outcome, score)
    return table


class Reasons:
    """Counts bad files by reason, with one example each: as small for a million bad files as for ten."""

    def __init__(self, bad: Iterable[tuple[str, str]] = ()) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        for path, why in bad:
            self.add(path, why)

    def __len__(self) -> int:
        """Number of bad files so far."""
        return self._counts.total()

    def add(self, path: str, why: str) -> None:
        """Count a file; `why` is "reason" or "reason: detail"."""
        reason = why.partition(":")[0]
        self._counts[reason] += 1
        self._examples.setdefault(reason, path)

    def table(self) -> Table:
        """One row for each reason, most files first."""
        table = Table("reason")
        table.add_column("files", justify="right")
        table.add_column("for example", overflow="fold")
        for reason, count in self._counts.most_common():
            table.add_row(Text(printable(reason)), f"{count:,}", _name(self._examples[reason]))
        return table


def _name(path: str) -> Text:
    return Text(printable(path), overflow="fold")  # a name that is cut off cannot be found again
