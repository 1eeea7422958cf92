"""imgstream index."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from imgstream.cli import options
from imgstream.cli.help import DATA, OUTPUT
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.index import ImageIndex
    from imgstream.index.manifest.read import ManifestReport

_MOST_CLASSES = 50
_MOST_BAD_ROWS = 20


def index(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIR|MANIFEST",
            help="A folder of images; a .csv, .tsv, .jsonl, .parquet or .txt that lists them; or archives and shards.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            *options.OUT,
            metavar="FILE",
            help="Write the table here (.arrow), and refresh it next time; or write a manifest (.csv).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    full: Annotated[
        bool,
        typer.Option("--full", help="List every folder again, and open every file for its size and kind.", rich_help_panel=DATA),
    ] = False,
    label_pattern: options.LabelPattern = None,
    corrections: options.Corrections = None,
    root: options.Root = None,
    columns: options.Columns = None,
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="A,B,…", help="The classes that a manifest may name.", rich_help_panel=DATA)
    ] = None,
    allow_outside: options.AllowOutside = False,
    join_classes: Annotated[
        bool,
        typer.Option(
            "--join-classes",
            help="With -o FILE.csv: give classes whose names look alike (Cats, cats) one name.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    multi_label: options.MultiLabel = False,
    as_json: options.Json = False,
) -> None:
    """List the images of a folder or a manifest and count them by class, without decoding any.

    Examples:
        imgstream index photos/
        imgstream index photos/ --full -o photos.arrow
        imgstream index list.csv --root photos/ --columns path=img,label=species -o list.arrow
        imgstream index photos/ --join-classes -o joined.csv
        imgstream index photos/ --corrections corrections.csv -o corrected.csv
        imgstream index tags.csv --multi-label -o tags.arrow
        imgstream index 'shards/train-*.tfrecord' --columns image=jpeg,label=species

    A folder that was listed before is refreshed: only folders that have changed since then are listed again. The table that -o writes can
    be given to train, evaluate and predict instead of the folder.
    """
    from imgstream.errors import OutputError
    from imgstream.files.atomic import check_target
    from imgstream.index import IMAGE_EXTENSIONS, kind_of, open_index
    from imgstream.index.header_scan import scan_headers
    from imgstream.index.look_alikes import joined, quoted
    from imgstream.index.manifest.read import is_manifest
    from imgstream.index.manifest.write import write_manifest
    from imgstream.index.opening import warn_of_look_alikes
    from imgstream.progress import counting
    from imgstream.spec import SampleSpec

    as_manifest = output is not None and output.suffix.lower() == ".csv"
    if join_classes and multi_label:
        raise typer.BadParameter("--join-classes joins classes of which an image has one: leave out --multi-label")
    if join_classes and not as_manifest:
        raise typer.BadParameter("--join-classes writes a manifest: give it a name with -o FILE.csv")
    if output is not None:
        if output.suffix.lower() in IMAGE_EXTENSIONS or is_manifest(output):
            raise OutputError(
                f"{str(output)!r} is named as an image, or is a list of images that is there already: those are never written to. Give "
                "another name, in .arrow for a table or .csv for a manifest"
            )
        if output.suffix.lower() not in (".csv", ".arrow"):
            raise OutputError(f"a manifest is written as .csv, a table as .arrow; {str(output)!r} is named as neither")
        check_target(output)
        options.check_keeps_inputs(output, corrections)
    kind = kind_of(source)
    if kind != "manifest" and (root or classes or allow_outside or (columns and kind != "shards")):
        raise typer.BadParameter(
            f"--root, --columns, --classes and --allow-outside are for manifests (--columns for shards too); {source!r} is none"
        )
    reports: list[ManifestReport] = []
    lines: list[str] = []
    with counting("Listing images") as scanned:
        found = open_index(
            source,
            label_pattern,
            index="auto" if output is None or as_manifest or corrections is not None else output,
            full=full,
            corrections=corrections,
            root=root,
            columns=columns,
            class_names=classes.split(",") if classes else None,
            allow_outside=allow_outside,
            multi_label=multi_label,
            progress=scanned,
            reported=reports.append,
            notice=lines.append,
        )
    report = reports[0] if reports else None
    changed, examples = 0, list[str]()
    if full:
        with counting("Opening files", len(found)) as opened:
            changed, examples = scan_headers(found, SampleSpec().max_pixels, opened)
    names = joined(found.class_names, found.class_counts()) if join_classes else {}
    if output is not None and as_manifest:
        write_manifest(found, output, names)
    elif output is not None:
        found.save(output)
    if not join_classes:
        warn_of_look_alikes(found, source, label_pattern, columns)
    if as_json:
        print(json.dumps(_to_json(found, report, changed, output)))
        return
    _print(found, report)
    for line in lines:
        if line != str(found.changes):
            _line(line)
    if full:
        _line(f"Opened all of them: {changed:,} had changed since they were opened before" + _such_as(examples))
    for name, other in names.items():
        if name != other:
            _line("Joined: {} is {} now".format(*quoted([name, other])))
    if output is not None and as_manifest:
        _line(f"Manifest: {output}, for --root {shlex.quote(found.root)}")
    elif output is not None:
        _line(f"Table: {output}")


def _to_json(found: ImageIndex, report: ManifestReport | None, changed: int, output: Path | None) -> dict[str, Any]:
    from imgstream.index.look_alikes import look_alikes

    counts = found.class_counts()
    return {
        "images": len(found),
        "classes": dict(zip(found.class_names, counts.tolist(), strict=True)),
        "unlabelled": found.unlabelled_count(),
        **({"label_sets": len(found.label_sets)} if found.is_multi_label else {}),
        "other_files": found.skipped_extensions,
        "unreadable_folders": found.unreadable_count,
        "look_alike_classes": look_alikes(found.class_names),
        "added": found.changes.added if found.changes is not None else None,
        "removed": found.changes.removed if found.changes is not None else None,
        "changed": changed,
        "bad_rows": None if report is None else report.to_json(),
        "table": None if output is None else str(output),
    }


def _print(found: ImageIndex, report: ManifestReport | None) -> None:
    from imgstream.terminal.tables import printable

    counts = found.class_counts()
    table = Table("class")
    table.add_column("images", justify="right")
    for name, count in list(zip(found.class_names, counts.tolist(), strict=True))[:_MOST_CLASSES]:
        table.add_row(Text(printable(name)), f"{count:,}")
    if len(counts) > _MOST_CLASSES:
        table.add_row(Text(f"and {len(counts) - _MOST_CLASSES:,} more classes", "dim"), f"{int(counts[_MOST_CLASSES:].sum()):,}")
    if unlabelled := found.unlabelled_count():
        table.add_row(Text("(no class)", "dim"), f"{unlabelled:,}")
    output_console().print(table)
    others = ", ".join(f"{count:,} {extension or '(none)'}" for extension, count in list(found.skipped_extensions.items())[:20])
    if found.is_multi_label:
        _line(f"Several labels an image: {quantity(int(counts.sum()), 'label')} in {quantity(len(found.label_sets), 'combination')}")
    _line(f"{quantity(len(found), 'image')}{f'; other files: {others}' if others else ''}")
    if found.unreadable_count:
        _line(f"{quantity(found.unreadable_count, 'folder')} could not be read{_such_as(found.unreadable_folders)}")
    if found.changes is not None:
        _line(str(found.changes))
    if report is not None:
        for line in report.lines(_MOST_BAD_ROWS):
            _line(line)


def _such_as(examples: list[str]) -> str:
    return f", such as {examples[0]}" if examples else ""


def _line(text: str) -> None:
    from imgstream.terminal.tables import printable

    output_console().print(printable(text), markup=False, soft_wrap=True)
