"""imgstream index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imgstream.cli import options

if TYPE_CHECKING:
    from imgstream.index import ImageIndex
    from imgstream.index.manifest import ManifestReport

_MOST_CLASSES = 50
_MOST_BAD_ROWS = 20


def index(
    source: Annotated[
        str, typer.Argument(metavar="DIR|MANIFEST", help="A folder of images, or a .csv, .tsv, .jsonl, .parquet or .txt that lists them.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Keep the table (Arrow) here too, and begin from it next time.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Look at everything again: list every folder, and open every file for its size and kind.")
    ] = False,
    label_pattern: options.LabelPattern = None,
    root: options.Root = None,
    columns: options.Columns = None,
    classes: Annotated[str | None, typer.Option("--classes", metavar="A,B,…", help="The labels that a manifest may have.")] = None,
    allow_outside: options.AllowOutside = False,
    as_json: options.Json = False,
) -> None:
    """List what a folder or a manifest holds, by class, without reading a pixel.

    A folder that was listed before is refreshed: only folders that changed since are listed again. The table that -o writes can be given
    to train, evaluate and predict in place of the folder.

    [bold]Examples[/bold]

      imgstream index photos/

      imgstream index photos/ --full -o photos.arrow

      imgstream index list.csv --root photos/ --columns path=img,label=species -o list.arrow
    """
    from imgstream.atomic import check_target
    from imgstream.errors import OutputError
    from imgstream.index import IMAGE_EXTENSIONS, scan
    from imgstream.index.facts import open_all
    from imgstream.index.manifest import is_manifest, read_manifest
    from imgstream.progress import counting
    from imgstream.spec import SampleSpec

    if output is not None:
        if output.suffix.lower() in IMAGE_EXTENSIONS or is_manifest(output):
            raise OutputError(
                f"{str(output)!r} is named as an image, or is a list of images: those are never written to. End the name in .arrow"
            )
        check_target(output)
    report = None
    with counting("Listing images") as scanned:
        if is_manifest(source):
            found, report = read_manifest(
                source,
                root=root,
                columns=columns,
                class_names=classes.split(",") if classes else None,
                allow_outside=allow_outside,
                progress=scanned,
            )
        elif root or columns or classes or allow_outside:
            raise typer.BadParameter(f"--root, --columns, --classes and --allow-outside are for manifests; {source!r} is none")
        else:
            found = scan(source, label_pattern, index=output or "auto", full=full, progress=scanned)
    changed, examples = 0, list[str]()
    if full:
        with counting("Opening files", len(found)) as opened:
            changed, examples = open_all(found, SampleSpec().max_pixels, opened)
    if output is not None:
        found.save(output)
    if as_json:
        print(json.dumps(_to_json(found, report, changed, output)))
        return
    _print(found, report)
    if full:
        _line(f"Opened all of them: {changed:,} had changed since they were opened before" + _such_as(examples))
    if output is not None:
        _line(f"Table: {output}")


def _to_json(found: ImageIndex, report: ManifestReport | None, changed: int, output: Path | None) -> dict[str, Any]:
    counts = found.class_counts()
    return {
        "images": len(found),
        "classes": dict(zip(found.class_names, counts.tolist(), strict=True)),
        "unlabelled": len(found) - int(counts.sum()),
        "other_files": found.skipped_extensions,
        "unreadable_folders": found.unreadable_count,
        "added": found.changes.added if found.changes is not None else None,
        "removed": found.changes.removed if found.changes is not None else None,
        "changed": changed,
        "bad_rows": None if report is None else report.to_json(),
        "table": None if output is None else str(output),
    }


def _print(found: ImageIndex, report: ManifestReport | None) -> None:
    from imgstream.report.terminal import printable

    counts = found.class_counts()
    table = Table("class")
    table.add_column("images", justify="right")
    for name, count in list(zip(found.class_names, counts.tolist(), strict=True))[:_MOST_CLASSES]:
        table.add_row(Text(printable(name)), f"{count:,}")
    if len(counts) > _MOST_CLASSES:
        table.add_row(Text(f"and {len(counts) - _MOST_CLASSES:,} more classes", "dim"), f"{int(counts[_MOST_CLASSES:].sum()):,}")
    if unlabelled := len(found) - int(counts.sum()):
        table.add_row(Text("(no class)", "dim"), f"{unlabelled:,}")
    Console(highlight=False).print(table)
    others = ", ".join(f"{count:,} {extension or '(none)'}" for extension, count in list(found.skipped_extensions.items())[:20])
    _line(f"{len(found):,} images{f'; other files: {others}' if others else ''}")
    if found.unreadable_count:
        _line(f"{found.unreadable_count:,} folders could not be read{_such_as(found.unreadable_folders)}")
    if found.changes is not None:
        _line(str(found.changes))
    if report is not None:
        for line in report.lines(_MOST_BAD_ROWS):
            _line(line)


def _such_as(examples: list[str]) -> str:
    return f", such as {examples[0]}" if examples else ""


def _line(text: str) -> None:
    from imgstream.report.terminal import printable

    Console(highlight=False).print(printable(text), markup=False, soft_wrap=True)
