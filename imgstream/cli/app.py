"""All commands of the command line, in groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from imgstream.cli.data import cache, check, index, pack, report, show, sort
from imgstream.cli.help import DATA, HELP, PREDICTION, TRAINING, Command, Group
from imgstream.cli.prediction import embed, evaluate, export, merge, predict
from imgstream.cli.training import bench, lr, shrink, train
from imgstream.versions import versions

app = typer.Typer(
    name="imgstream",
    cls=Group,
    help="""Image classification on folders of any size: train, evaluate, predict, swap augmentations.

    Examples:
        imgstream check photos/
        imgstream train photos/ --out runs/pets --minutes 15
        imgstream evaluate runs/pets holdout/
        imgstream predict runs/pets new_photos/ -o predictions.csv

    imgstream COMMAND --help says what a command takes.
    """,
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
        typer.Option(
            "--version",
            callback=_print_versions,
            is_eager=True,
            help="Print the versions of imgstream, Python, Keras and TensorFlow.",
            rich_help_panel=HELP,
        ),
    ] = False,
) -> None:
    pass


_COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    DATA: (index.index, check.check, report.report, show.show, sort.sort, pack.pack),
    TRAINING: (train.train, shrink.shrink, lr.lr, bench.bench),
    PREDICTION: (predict.predict, evaluate.evaluate, embed.embed, merge.merge, export.export),
}
for group, functions in _COMMANDS.items():
    for function in functions:
        app.command(cls=Command, rich_help_panel=group)(function)
app.add_typer(cache.app, name="cache", rich_help_panel=DATA)


def command() -> Any:
    """The whole command line as one command, with its commands under `.commands`."""
    return typer.main.get_command(app)
