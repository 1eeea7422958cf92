"""The report of `imgstream check --parity` on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from imgstream.spec import SampleSpec
from imgstream.stream.parity import ParityResult
from imgstream.terminal.tables import printable
from imgstream.wording import quantity

_MOST_ROWS = 20


def parity_report(
    comparisons: Sequence[ParityResult], files: int, spec: SampleSpec, class_names: Sequence[str]
) -> Iterator[RenderableType]:
    """A table of the comparisons, everything beyond the bounds, the predictions that change if there are class names, and a verdict."""
    height, width, channels = spec.shape
    how = f"{height}x{width}, {spec.fit}, {'RGB' if channels == 3 else 'grey'}"
    yield f"The python and the tf pipeline over {quantity(files, 'file')}, {how}. Differences in levels of 1/255."
    yield _table(comparisons)
    for comparison in comparisons:
        yield from _beyond(comparison)
    if class_names:
        yield from _predictions(comparisons[0], class_names)
    if all(comparison.agrees for comparison in comparisons):
        yield Text("The two pipelines agree: same files, same labels, same skips, pixels within the bounds.", "green")
    else:
        yield Text("The two pipelines disagree on these files.", "bold red")


def _table(comparisons: Sequence[ParityResult]) -> Table:
    table = Table("augment")
    for comparison in comparisons:
        table.add_column(Text(printable(comparison.augment)), justify="right")
    shares = [comparison.at_levels / max(1, comparison.values) for comparison in comparisons]
    rows: dict[str, list[str | Text]] = {
        "images compared": [f"{c.images:,}" for c in comparisons],
        "decoded by TensorFlow itself": [f"{c.by_tensorflow:,}" for c in comparisons],
        "skipped as bad": [f"{c.skipped:,}" for c in comparisons],
        "largest difference": [f"{c.largest:.2f}{_allowed(c.most)}" for c in comparisons],
        "mean difference": [f"{c.mean:.4f}{_allowed(c.most_on_average)}" for c in comparisons],
        "values that are equal": [f"{100 * share[0]:.3f} %" for share in shares],
        "  that differ by 1": [f"{100 * share[1]:.3f} %" for share in shares],
        "  by 2": [f"{100 * share[2]:.3f} %" for share in shares],
        "  by 3 or more": [f"{100 * share[3:].sum():.3f} %" for share in shares],
        "verdict": [Text("agree", "green") if c.agrees else Text("disagree", "bold red") for c in comparisons],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _allowed(bound: float | None) -> str:
    return "" if bound is None else f" of {bound:g}"


def _beyond(comparison: ParityResult) -> Iterator[RenderableType]:
    name = printable(comparison.augment)
    if comparison.over:
        yield Text(
            f"augment {name}: {quantity(comparison.over, 'image differs', 'images differ')} "
            f"by more than {comparison.most:g}/255. The most:",
            "red",
        )
        for difference, path in comparison.worst:
            yield Text(f"  {difference:6.2f}  {printable(path)}")
    if comparison.skips:
        yield Text(
            f"augment {name}: {quantity(len(comparison.skips), 'file is', 'files are')} skipped by one pipeline alone, "
            "or for other reasons:",
            "red",
        )
        for skip in comparison.skips[:_MOST_ROWS]:
            yield Text(f"  {printable(skip.path)}: python {printable(skip.python) or 'reads it'}; tf {printable(skip.tf) or 'reads it'}")
    if comparison.lost:
        yield Text(
            f"augment {name}: {quantity(len(comparison.lost), 'file is', 'files are')} neither given nor skipped by one pipeline, such as",
            "red",
        )
        yield Text(f"  {printable(comparison.lost[0])}")
    if comparison.labels:
        yield Text(f"augment {name}: {comparison.labels:,} labels or places differ", "red")


def _predictions(comparison: ParityResult, class_names: Sequence[str]) -> Iterator[RenderableType]:
    count = len(comparison.changed)
    largest = f"The largest difference of a score is {comparison.score:.4f}"
    yield f"Predictions that change: {count:,} of {comparison.images:,}. {largest}{':' if count else '.'}"
    if not count:
        return
    table = Table("path", "python", "tf")
    for changed in comparison.changed[:_MOST_ROWS]:
        labels = (
            f"{printable(class_names[best])} {score:.3f}"
            for best, score in ((changed.python, changed.python_score), (changed.tf, changed.tf_score))
        )
        table.add_row(Text(printable(changed.path), overflow="fold"), *(Text(label) for label in labels))
    yield table
    if count > _MOST_ROWS:
        yield f"… and {count - _MOST_ROWS:,} more; --json lists all"
