"""The commands, gathered."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from imgstream.cli.data import cache, check, index, show, sort
from imgstream.cli.prediction import embed, evaluate, merge, predict
from imgstream.cli.training import bench, lr, train
from imgstream.versions import versions

app = typer.Typer(
    name="imgstream",
    help="Image classification on folders of any size: train, evaluate, predict, swap augmentations.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _print_versions(asked: bool) -> None:
    if asked:
        found = versions("imgstream", "keras", "tensorflow")
        ours, python = found.pop("imgstream", "(not installed)"), found.pop("python")
        print(f"imgstream {ours}", f"Python {python}", *(f"{name} {found[name]}" for name in found), sep=", ")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_versions, is_eager=True, help="Print the versions of imgstream and of what it runs on."),
    ] = False,
) -> None:
    pass


app.command("train")(train.train)
app.command("lr")(lr.lr)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("embed")(embed.embed)
app.command("merge")(merge.merge)
app.command("sort")(sort.sort)
app.command("check")(check.check)
app.command("show")(show.show)
app.command("index")(index.index)
app.command("bench")(bench.bench)
app.add_typer(cache.app, name="cache")


def command() -> Any:
    """The click command behind the app."""
    return typer.main.get_command(app)
