"""imgstream sort."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from imgstream.cli import options
from imgstream.cli.help import DATA, OUTPUT, SORTING
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.sorting import Preview, SortReport
    from imgstream.sorting.plan import Action

_MOST_SHOWN = 20


def sort(
    predictions: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The predictions that predict wrote: .csv, .jsonl or .parquet.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="The folder to put the class folders into; it need not exist.", rich_help_panel=OUTPUT),
    ] = None,
    link: Annotated[
        bool,
        typer.Option("--link", help="Make hard links, or symbolic links where these are not possible.", rich_help_panel=SORTING),
    ] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files, and compare each copy with its original.", rich_help_panel=SORTING)
    ] = False,
    move: Annotated[bool, typer.Option("--move", help="Move the files.", rich_help_panel=SORTING)] = False,
    root: Annotated[
        str | None,
        typer.Option(
            "--from",
            "--root",
            metavar="DIR",
            help="The folder that was predicted (default: the one that FILE.store names).",
            rich_help_panel=DATA,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done; touch nothing.", rich_help_panel=OUTPUT)] = False,
    undo_file: Annotated[
        Path | None,
        typer.Option("--undo", metavar="FILE", help="Instead: put everything back, by this undo file.", rich_help_panel=SORTING),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Sort files into one folder for each predicted class, and one each for unsure and for unreadable files.

    Examples:
        imgstream sort predictions.csv --into sorted/ --link
        imgstream sort predictions.csv --into sorted/ --move --dry-run
        imgstream sort predictions.parquet --from new_photos/ --into new_photos/ --move
        imgstream sort --undo sorted/imgstream-undo-1f2e3d4c5b6a.jsonl

    No file is ever overwritten: the second 1.jpg of a folder becomes "1 (2).jpg". A file that is missing or in the way is counted and
    listed; the others go on. An undo file in DIR records every step before it is taken: after a crash the same command goes on, and --undo
    puts everything back. A move to another disk removes the original only after its copy was read back and compared.
    """
    chosen: list[Action] = [name for name, given in (("link", link), ("copy", copy), ("move", move)) if given]  # type: ignore[misc]
    if undo_file is not None:
        if predictions is not None or into is not None or root is not None or chosen or dry_run:
            raise typer.BadParameter("--undo goes with --json alone")
        _undo(undo_file, as_json)
        return
    if predictions is None or into is None:
        raise typer.BadParameter("give predictions and --into DIR, or --undo FILE")
    if len(chosen) != 1:
        raise typer.BadParameter("give one of --link, --copy and --move")

    from imgstream.errors import DatasetError
    from imgstream.progress import counting
    from imgstream.sorting import preview, stored_root
    from imgstream.sorting import sort as sort_files

    if not predictions.is_file():
        raise DatasetError(f"there is no file {str(predictions)!r}: give what imgstream predict wrote")
    root = root if root is not None else stored_root(predictions)
    if root is None:
        raise DatasetError(f"no store beside {str(predictions)!r} says which folder was predicted: give it with --from DIR")
    if dry_run:
        _tell_preview(preview(predictions, root, into, chosen[0], _MOST_SHOWN), chosen[0], into, as_json)
        return
    with counting("Sorting") as done:
        report = sort_files(predictions, root, into, chosen[0], lambda rows, _: done(rows))
    _tell(report, into, as_json)


def _tell(report: SortReport, into: Path, as_json: bool) -> None:
    from imgstream.terminal.tables import printable

    if as_json:
        print(json.dumps({**_counts(report), "into": str(into), "undo": str(report.undo)}))
        return
    console = output_console()
    parts = [
        f"{report.linked:,} linked" if report.linked else "",
        f"{report.copied:,} copied" if report.copied else "",
        f"{report.moved:,} moved" if report.moved else "",
        f"{report.in_place:,} in their place already" if report.in_place else "",
        f"{report.failed:,} not sorted" if report.failed else "",
    ]
    console.print(f"{quantity(report.rows, 'file')}: {', '.join(filter(None, parts)) or 'nothing to do'}.", soft_wrap=True)
    if report.symbolic:
        console.print(
            f"{quantity(report.symbolic, 'link is', 'links are')} symbolic: these files allow no hard links there.", soft_wrap=True
        )
    console.print(f"Of those: {report.unsure:,} unsure, {report.unreadable:,} unreadable, {report.renamed:,} under another name.")
    if report.failed:
        console.print(f"Not sorted: {', '.join(f'{count:,} {reason}' for reason, count in report.reasons.items())}", markup=False)
        for path, why in report.first_failed[:_MOST_SHOWN]:
            console.print(f"{printable(path)}: {printable(why)}", markup=False, soft_wrap=True)
        if report.failed > _MOST_SHOWN:
            console.print(f"and {report.failed - _MOST_SHOWN:,} more: the undo file names all", soft_wrap=True)
    console.print(f"To undo: imgstream sort --undo {printable(str(report.undo))}", markup=False, soft_wrap=True)


def _counts(report: SortReport) -> dict[str, object]:
    names = ("rows", "linked", "symbolic", "copied", "moved", "in_place", "unsure", "unreadable", "renamed", "failed", "reasons")
    return {name: getattr(report, name) for name in names} | {"first_failed": _files(report.first_failed)}


def _files(listed: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"path": path, "reason": why} for path, why in listed]


def _tell_preview(plan: Preview, action: Action, into: Path, as_json: bool) -> None:
    from imgstream.terminal.tables import printable

    if as_json:
        first = [{"path": path, "to": to} for path, to in plan.first]
        print(
            json.dumps({"dry_run": True, "rows": plan.rows, "done": plan.done, "folders": plan.folders, "first": first, "into": str(into)})
        )
        return
    console = output_console()
    table = Table("folder")
    table.add_column("files", justify="right")
    for folder, count in sorted(plan.folders.items(), key=lambda item: -item[1]):
        table.add_row(Text(printable(folder), overflow="fold"), f"{count:,}")
    console.print(table)
    for path, to in plan.first:
        console.print(f"{printable(path)}  →  {printable(to)}", markup=False, soft_wrap=True)
    before = f" ({plan.done:,} done before)" if plan.done else ""
    console.print(
        f"Nothing was touched. Without --dry-run: --{action} {quantity(plan.rows, 'file')}{before} into {printable(str(into))}",
        markup=False,
        soft_wrap=True,
    )


def _undo(path: Path, as_json: bool) -> None:
    from imgstream.errors import OutputError
    from imgstream.progress import counting
    from imgstream.sorting import undo
    from imgstream.terminal.tables import printable

    if not path.is_file():
        raise OutputError(f"there is no file {str(path)!r}: an undo that has ended removes it")
    with counting("Undoing") as done:
        report = undo(path, done)
    if as_json:
        print(json.dumps({"back": report.back, "left": report.left, "first_left": _files(report.first_left), "undo": str(path)}))
    else:
        console = output_console()
        console.print(f"{quantity(report.back, 'file is back as it was', 'files are back as they were')}.")
        for name, why in report.first_left[:_MOST_SHOWN]:
            console.print(f"{printable(name)}: left, {printable(why)}", markup=False, soft_wrap=True)
    if report.left:
        raise OutputError(f"{quantity(report.left, 'file')} could not be put back: left in place. Once that is mended, give --undo again")
