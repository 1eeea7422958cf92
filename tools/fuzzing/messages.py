"""What the parent asks of a child, and what the child answers."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Setting(NamedTuple):
    """How a block of cases is read."""

    size: tuple[int, int]
    fit: Literal["crop", "pad", "stretch"]
    channels: Literal[1, 3]
    augment: str | None
    batch_size: int
    seed: int


class Finding(NamedTuple):
    """What is wrong with a file, or with a whole pass."""

    name: str
    """The file below its folder; "" for the pass."""
    kind: str
    """One of: skip reason detail rows order labels values pixels error; and, as the parent sees it, crash hang memory time."""
    sign: str
    """What two findings of one kind and one cause share."""
    text: str


class Cost(NamedTuple):
    """Of one pipeline's pass."""

    seconds: float
    """Of one core."""
    megabytes: float
    """How far the process's memory rose above what it was before."""


class Verdict(NamedTuple):
    """What came of a folder."""

    findings: list[Finding]
    python: Cost
    tf: Cost
