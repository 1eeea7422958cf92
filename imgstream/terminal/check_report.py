"""The report of `imgstream check` on the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from imgstream.check.clusters import Clusters
from imgstream.check.findings import EXTREME_ASPECT, Findings
from imgstream.index.look_alikes import quoted
from imgstream.progress import duration
from imgstream.terminal.tables import amount, printable
from imgstream.wording import quantity

_MOST_CLASSES = 20
_MOST_LISTED = 10
_MOST_CLUSTERS, _MOST_OF_A_CLUSTER = 5, 4
_MOST_LOOKED_AT = 1000  # files of a cluster, for one of each class or part


def check_report(findings: Findings) -> Iterator[RenderableType]:
    """The folder, its classes and kinds, a table of findings, examples of them, and a verdict."""
    yield Text(_summary(findings))
    yield _classes(findings)
    yield Text(_contents(findings))
    if findings.index.unreadable_count:
        first = printable(findings.index.unreadable_folders[0])
        yield Text(f"{findings.index.unreadable_count:,} folders could not be listed, such as {first}", "yellow")
    yield _table(findings)
    yield from _examples(findings)
    if findings.clean:
        yield Text("Nothing found." if findings.decoded else "Nothing found in the headers; --decode looks at the pixels too.", "green")


def _summary(findings: Findings) -> str:
    files, seconds = len(findings.index), findings.seconds
    size = amount(int(findings.facts.records["size"].sum()))
    how = "all decoded" if findings.decoded else "headers read, not decoded"
    root = printable(findings.index.root) or "The paths given"
    return f"{root}: {quantity(files, 'file')}, {size}; {how}: {duration(seconds)}, {files / seconds:,.0f} files/s."


def _classes(findings: Findings) -> Table:
    classes = findings.classes()
    rest = len(classes) - _MOST_CLASSES
    table = Table("class", caption=f"… and {rest:,} more; --json lists all" if rest > 0 else None)
    table.add_column("files", justify="right")
    table.add_column("broken", justify="right")
    for name, files, bad in classes[:_MOST_CLASSES]:
        shown = Text("(no class)", "dim") if name is None else Text(printable(name), overflow="fold")
        table.add_row(shown, f"{files:,}", Text(f"{bad:,}", "red" if bad else "dim"))
    return table


def _contents(findings: Findings) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in findings.facts.kinds().items())
    others = ", ".join(f"{count:,} {printable(extension) or '(none)'}" for extension, count in findings.index.skipped_extensions.items())
    lines = [f"Kinds: {kinds or 'none readable'}{f'; other files: {others}' if others else ''}"]
    if sizes := findings.sizes():
        (least_w, width, most_w), (least_h, height, most_h) = sizes["width_pixels"], sizes["height_pixels"]
        wide, high = f"{least_w:,.0f} to {most_w:,.0f} (median {width:,.0f})", f"{least_h:,.0f} to {most_h:,.0f} (median {height:,.0f})"
        lines.append(f"Pixels: width {wide}, height {high}")
    return "\n".join(lines)


def _table(findings: Findings) -> Table:
    table = Table("looked for")
    table.add_column("files", justify="right")
    table.add_column("")

    def row(name: str, files: int | None, note: str = "") -> None:
        cell = Text("–", "dim") if files is None else Text(f"{files:,}", "bold red" if files else "green")
        table.add_row(name, cell, Text(note))

    alike, split = findings.alike, "folders" if findings.split_by == "folders" else "train's own split"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in findings.facts.reasons().items())
    row("broken", findings.bad, reasons or ("" if findings.decoded else "by their headers"))
    row("exact duplicates", *_counted(findings.exact, range(len(findings.exact))))
    if findings.decoded:
        files, note = _counted(alike, findings.near.tolist())
        row("near duplicates", files, "; ".join(filter(None, (note, f"{findings.plain:,} too plain to tell" if findings.plain else ""))))
    else:
        row("near duplicates", None, "not looked for: --decode")
    row("duplicates, different labels", *_counted(alike, findings.conflicts.tolist()))
    if findings.split_by is None:
        row("duplicates across splits", None, "no labels, no split")
    else:
        files, note = _counted(alike, findings.across.tolist())
        row("duplicates across splits", files, f"{note}; {split}" if note else split)
    of_class, groups = {name: count for name, count, _ in findings.classes()}, findings.look_alikes
    shown = "; ".join(" and ".join(map(printable, quoted(names))) for names in groups[:_MOST_LISTED])
    row("classes that look alike", sum(of_class[name] for names in groups for name in names), shown)
    depth = findings.depth
    if depth.needs_levels:
        row("need --levels", depth.deep, f"{depth}; train with --levels auto")
    row(f"longer side over {EXTREME_ASPECT}x the shorter", len(findings.extreme))
    return table


def _counted(clusters: Clusters, numbers: Sequence[int]) -> tuple[int, str]:
    """Number of files, and of clusters as text."""
    sizes = [len(clusters[number]) for number in numbers]
    return sum(sizes), f"{len(sizes):,} {'group' if len(sizes) == 1 else 'groups'}" if sizes else ""


def _examples(findings: Findings) -> Iterator[RenderableType]:
    if findings.bad:
        table = Table("broken", "reason", caption=_rest(findings.bad, _MOST_LISTED))
        for path, bad in itertools.islice(findings.bad_files(), _MOST_LISTED):
            table.add_row(_name(path), Text(printable(f"{bad.reason}: {bad.detail}")))
        yield table
    alike = findings.alike
    yield from _groups("exact duplicates", findings, findings.exact, range(len(findings.exact)))
    yield from _groups("near duplicates", findings, alike, findings.near.tolist())
    yield from _groups("duplicates, different labels", findings, alike, findings.conflicts.tolist(), findings.class_name)
    yield from _groups("duplicates across splits", findings, alike, findings.across.tolist(), findings.part)
    if len(findings.extreme):
        table = Table("extreme aspect", "width", "height", caption=_rest(len(findings.extreme), _MOST_LISTED))
        for row, width, height in findings.extremes(_MOST_LISTED):
            table.add_row(_name(findings.path(row)), f"{width:,}", f"{height:,}")
        yield table


def _groups(
    title: str, findings: Findings, clusters: Clusters, numbers: Sequence[int], tag: Callable[[int], str | None] | None = None
) -> Iterator[Table]:
    """The first clusters, a row each, with their first files; `tag` gives what distinguishes files: one of each comes first."""
    if not numbers:
        return
    table = Table(title, caption=_rest(len(numbers), _MOST_CLUSTERS))
    table.add_column("files", justify="right")
    for number in numbers[:_MOST_CLUSTERS]:
        rows = clusters[number][:_MOST_LOOKED_AT].tolist()
        if tag is not None:
            firsts = {tag(row): row for row in reversed(rows)}.values()
            rows = sorted(rows, key=lambda row: row not in firsts)
        lines = []
        for row in rows[:_MOST_OF_A_CLUSTER]:
            lines.append(_name(findings.path(row)))
            if tag is not None:
                lines[-1].append(f"  {printable(tag(row) or 'none')}", "dim")
        if (more := len(clusters[number]) - len(lines)) > 0:
            lines.append(Text(f"… and {more:,} more", "dim"))
        table.add_row(Text("\n", overflow="fold").join(lines), f"{len(clusters[number]):,}", end_section=True)
    yield table


def _rest(count: int, shown: int) -> str | None:
    return f"{shown} of {count:,}; more: --json" if count > shown else None


def _name(path: str) -> Text:
    return Text(printable(path), overflow="fold")  # a name that is cut off cannot be found again
