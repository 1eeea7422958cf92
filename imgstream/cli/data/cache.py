"""imgstream cache ls, imgstream cache clear."""

from __future__ import annotations

import json
import os
import time
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from imgstream.cli import options
from imgstream.cli.help import Command, Group
from imgstream.terminal.console import output_console

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""List or remove the decoded images that imgstream train --cache has kept on disk.

    Examples:
        imgstream cache ls
        imgstream cache ls /fast/disk/pixels --json
        imgstream cache clear
    """,
)
Folder = Annotated[
    str | None, typer.Argument(metavar="DIR", help="The folder given to train --cache DIR (default: the user's cache folder).")
]


@app.command("ls", cls=Command)
def ls(folder: Folder = None, as_json: options.Json = False) -> None:
    """List what the cache holds: the number of images, the size of their samples, the space on disk, and when they were last used.

    Examples:
        imgstream cache ls
        imgstream cache ls /fast/disk/pixels --json
    """
    from imgstream.cache import PixelCache
    from imgstream.terminal.tables import amount, printable

    cache = PixelCache(_existing(folder))
    held = cache.held()
    total = sum(shelf.bytes for shelf in held)
    if as_json:
        shelves = [{"form": s.form, "images": s.images, "bytes": s.bytes, "last_used": int(s.used)} for s in held]
        print(json.dumps({"folder": str(cache.folder), "bytes": total, "shelves": shelves}))
        return
    console = output_console()
    if not held:
        console.print(f"Nothing is kept in {printable(str(cache.folder))}", soft_wrap=True, markup=False)
        return
    table = Table("kept", "for samples of")
    for name in ("images", "on disk", "last used"):
        table.add_column(name, justify="right")
    for shelf in held:
        table.add_row(
            *_words(shelf.form), f"{shelf.images:,}", amount(shelf.bytes), time.strftime("%Y-%m-%d %H:%M", time.localtime(shelf.used))
        )
    console.print(table)
    console.print(f"{amount(total)} in {printable(str(cache.folder))}", soft_wrap=True, markup=False)


@app.command("clear", cls=Command)
def clear(folder: Folder = None, as_json: options.Json = False) -> None:
    """Remove the decoded images of the cache, and no other file in its folder.

    Examples:
        imgstream cache clear
        imgstream cache clear /fast/disk/pixels

    A training that is using the cache decodes its images again.
    """
    from imgstream.cache import PixelCache
    from imgstream.terminal.tables import amount, printable

    cache = PixelCache(_existing(folder))
    freed = cache.clear()
    if as_json:
        print(json.dumps({"folder": str(cache.folder), "freed_bytes": freed}))
    else:
        output_console().print(f"{amount(freed)} freed in {printable(str(cache.folder))}", soft_wrap=True, markup=False)


def _existing(folder: str | None) -> str | None:
    """The folder that the user named, or None for the default one, which need not exist yet. Raises DatasetError for what is no folder."""
    from imgstream.errors import DatasetError

    if folder is not None and not os.path.isdir(path := os.path.expanduser(folder)):
        what = f"{folder!r} is a file, not a folder" if os.path.lexists(path) else f"there is no folder {folder!r}"
        raise DatasetError(f"{what}: give the one that was given to train --cache, or none for the user's cache folder")
    return folder


def _words(form: dict[str, object]) -> tuple[Text, Text]:
    """Describe what is kept and its samples' shape, from a record that another version of imgstream may have written."""
    from imgstream.terminal.tables import printable

    size, channels = form.get("size"), {1: "grey", 3: "RGB"}.get(form.get("channels"))  # type: ignore[call-overload]
    shape = "×".join(map(str, size)) if isinstance(size, list) else "?"
    fit = f", {form['fit']}" if form.get("fit") else ""
    return Text(printable(str(form.get("kept", "?")))), Text(printable(f"{shape} {channels or '?'}{fit}"))
