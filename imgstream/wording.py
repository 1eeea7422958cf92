"""How messages say numbers of things, and choices."""

from __future__ import annotations

from collections.abc import Iterable


def quantity(count: int, one: str, several: str | None = None) -> str:
    """A number with its noun: 1 image, 2,000 images. `several` is the plural of a noun that takes more than an s."""
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def either(choices: Iterable[str]) -> str:
    """Choices as a sentence lists them: .csv, .jsonl or .parquet."""
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last
