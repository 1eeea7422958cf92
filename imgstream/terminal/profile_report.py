"""The report of `imgstream bench` on the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from imgstream.profiling.advice import Advice, number
from imgstream.profiling.figures import FIRST_BAD, Figures, Reading
from imgstream.progress import duration
from imgstream.terminal.tables import printable
from imgstream.wording import quantity

_LOADER = ("read", "decode", "augment")


def bench_report(figures: Figures, advice: Advice) -> Iterator[RenderableType]:
    """The conditions, a table of the stages, the bound, the advice, and the first bad files."""
    height, width, _ = figures.spec.shape
    classes = f"{figures.classes:,} {'class' if figures.classes == 1 else 'classes'}"
    place, size = printable(figures.directory), f"about {figures.folder_bytes / 1e6:,.0f} MB"
    yield Text(
        f"{place}: {quantity(figures.files, 'image')}, {classes}, {size}. A random sample of "
        f"{quantity(figures.tried, 'file')}, to {height}x{width}, "
        f"batches of {figures.batch_size}, {_threads(figures.threads)}, {figures.device}."
    )
    yield _table(figures, advice)
    yield Text.assemble(
        "Upper bound, if all stages overlapped perfectly: ",
        (f"{number(advice.upper_bound)} images/s", "bold"),
        f", {duration(60 * advice.minutes)} an epoch of all {figures.files:,} images.",
    )
    yield ""
    advices = Table.grid(padding=(0, 1))
    for i, sentence in enumerate(advice.sentences):
        advices.add_row("•", Text(printable(sentence), "" if i else "bold"))
    yield advices
    if figures.bad:
        table = Table(
            "bad file", "reason", caption=f"the first {FIRST_BAD} of {len(figures.bad):,}" if len(figures.bad) > FIRST_BAD else None
        )
        for bad in figures.bad[:FIRST_BAD]:
            table.add_row(Text(printable(bad.path), overflow="fold"), Text(printable(f"{bad.reason}: {bad.detail}")))
        yield table


def _table(figures: Figures, advice: Advice) -> Table:
    """One row for each measurement. µs an image are wall time: on all threads, the time between two finished images."""
    table = Table("stage")
    for heading in ("images/s", "µs an image", ""):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    threads, augment = _threads(figures.threads), figures.augment
    several = figures.threads > 1

    def row(name: str, rate: float | None, note: str = "", stage: str | None = None) -> None:
        binds = stage == advice.binding
        cells = ("–", "–") if rate is None else (number(rate), number(1e6 / rate))
        table.add_row(Text(name), *map(Text, cells), Text("← binds" if binds else note), style="bold yellow" if binds else None)

    def reading(name: str, found: Reading | None, stage: str | None = None) -> None:
        if found is None:
            row(name, None, "no file left")
        else:
            row(name, found.files_per_second, f"{found.megabytes_per_second:,.0f} MB/s", stage)

    reading("read, 1 thread, first time", figures.read.one_thread_first)
    reading("read, 1 thread, again", figures.read.one_thread_again, None if several else "read")
    if several:
        reading(f"read, {threads}, first time", figures.read.all_threads_first)
        reading(f"read, {threads}, again", figures.read.all_threads_again, "read")
    row("decode and resize, 1 thread", figures.decode.one_thread.images_per_second, "", None if several else "decode")
    if several:
        row(f"decode and resize, {threads}", figures.decode.all_threads.images_per_second, "", "decode")
    if augment.microseconds:
        row(f"augment {printable(augment.name)}, 1 thread", 1e6 / augment.microseconds, "", "augment")
    for part in augment.parts:
        table.add_row(Text(f"  {printable(part.name)}"), "", number(part.microseconds), f"{100 * augment.share(part):.0f} %", style="dim")
    rest = augment.microseconds - sum(part.microseconds for part in augment.parts)
    if augment.parts and rest > 0.05 * augment.microseconds:
        table.add_row(Text("  calling and checking"), "", number(rest), f"{100 * rest / augment.microseconds:.0f} %", style="dim")
    table.add_section()
    row(f"loader: all of that, {threads}", figures.loader.images_per_second, "" if advice.binding not in _LOADER else "slowest")
    row("transfer to Keras", figures.transfer.images_per_second, "", "transfer")
    row(f"training step of {figures.model}", figures.step.images_per_second, "", "step")
    together = figures.together.images_per_second if figures.together is not None else None
    row("loader and step together", together, "no time left" if together is None else "")
    return table


def _threads(count: int) -> str:
    return quantity(count, "thread")
