"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from imgstream.index import ImageIndex, Source
    from imgstream.stream import Stream
    from imgstream.stream.pipeline_selection import PipelineSelection


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Read "224" or "180x299" (height × width) as (height, width). Raises typer.BadParameter."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:[xX×](\d{1,5}))?", text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is no size; give pixels as N, or HxW such as 180x299")
    height = int(match[1])
    return height, int(match[2] or height)


def parse_batch_size(text: str) -> int | None:
    """A number of images, or None for "auto". Raises typer.BadParameter."""
    if str(text) == "auto":
        return None
    if not str(text).isdecimal() or not int(text):
        raise typer.BadParameter(f"{text!r} is no batch size: auto, or a number of images such as 32")
    return int(text)


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str | int) -> int:
    """Read "20GB", "500MB", "1.5TiB" or a plain number of bytes. Raises typer.BadParameter."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?", str(text).strip().lower())
    if not match or not (size := int(float(match[1]) * _UNITS[match[2]])):
        raise typer.BadParameter(f"{text!r} is no amount of memory; give bytes, such as 20GB, 500MB or 1.5TiB")
    return size


_COLUMNS = ("path", "label", "split", "group", "weight")


def parse_columns(text: str) -> dict[str, str]:
    """Read "path=img,label=species" as a dict. Raises typer.BadParameter."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() in _COLUMNS and value.strip() for name, _, value in pairs):
        raise typer.BadParameter(f"{text!r}: give {', '.join(_COLUMNS)} a column each, as in path=img,label=species or path=0,label=1")
    return {name.strip(): value.strip() for name, _, value in pairs}


AUGMENT_HELP = "none, light, standard, strong, policy.yaml, policy.json or file.py:function"

Size = Annotated[Any, typer.Option("--size", metavar="N|HxW", parser=parse_size, help="Size of a sample in pixels.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Threads that read and decode (default: one for each core).")]
Pipeline = Annotated[
    Literal["auto", "python", "tf"],
    typer.Option(
        "--pipeline",
        metavar="auto|python|tf",
        help="Who reads and decodes; auto measures both, from 2,000 files on.",
    ),
]
Cache = Annotated[
    str,
    typer.Option(
        "--cache", metavar="auto|off|DIR", help="Keep decoded images and decode none twice: auto in the user's cache folder, or in DIR."
    ),
]
CacheLimit = Annotated[Any, typer.Option("--cache-limit", metavar="20GB", parser=parse_bytes, help="The most that the cache may take.")]
LabelPattern = Annotated[
    str | None,
    typer.Option("--label-pattern", metavar="REGEX", help="Take labels from the path instead of the folder: a pattern with (?P<label>…)."),
]
Exclude = Annotated[
    Path | None,
    typer.Option("--exclude", metavar="FILE", help="Leave out the images in this list, such as imgstream check --quarantine writes."),
]
Root = Annotated[
    str | None, typer.Option("--root", metavar="DIR", help="Where a manifest's paths begin (default: the manifest's own folder).")
]
Columns = Annotated[
    Any,
    typer.Option(
        "--columns", metavar="path=IMG,label=Y", parser=parse_columns, help="A manifest's columns, by name or, without a header, by number."
    ),
]
AllowOutside = Annotated[bool, typer.Option("--allow-outside", help="Take a manifest's paths that lead out of its root.")]
Tta = Annotated[
    Literal["flip"] | None,
    typer.Option("--tta", metavar="flip", help="Average each image's scores with its mirror image's."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else.")]


def choose(stream: Stream, asked: str) -> PipelineSelection:
    """The pipeline for `stream`, with a word on a terminal while "auto" measures."""
    from imgstream.progress import error_console
    from imgstream.stream import choose_pipeline

    console = error_console()
    if asked != "auto" or not console.is_terminal:
        return choose_pipeline(stream, asked)
    with console.status("Which pipeline is the faster?"):
        return choose_pipeline(stream, asked)


def open_images(source: Source, label_pattern: str | None = None, **of_index: Any) -> ImageIndex:
    """open_index with progress; what it has to tell goes to stderr."""
    from imgstream.index import open_index
    from imgstream.progress import counting, error_console
    from imgstream.terminal.tables import printable

    lines: list[str] = []
    with counting("Listing images") as scanned:
        index = open_index(source, label_pattern, progress=scanned, notice=lines.append, **of_index)
    for line in lines:
        error_console().print(printable(line), markup=False, soft_wrap=True)
    return index


def tell_changed(index: ImageIndex) -> None:
    """Say on stderr which files turned out to be others than when they were first opened."""
    from imgstream.progress import error_console
    from imgstream.terminal.tables import printable

    if changed := index.changed():
        text = f"{len(changed):,} files have changed since they were first opened, such as {printable(changed[0])}"
        error_console().print(text, markup=False, soft_wrap=True)
