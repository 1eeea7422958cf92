"""A case: one damaged file, a pure function of the seeds, a whole number and the case's number. And how its block of cases is read."""

from __future__ import annotations

import bisect
import collections
import itertools
from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple

from fuzzing.damage import bmp, gif, isobmff, jpeg, png, tiff_tags, webp
from fuzzing.damage.any_kind import ANY, splice
from fuzzing.messages import Setting
from fuzzing.seeds import SUFFIXES, Seed

BLOCK = 250
"""Cases that are read in one pass, by one setting. To start a pass of the tf pipeline takes as long as to decode a hundred small files."""

CLASSES = ("a", "b", "c")
_SHARES = {"jpeg": 38, "png": 12, "gif": 7, "bmp": 7, "webp": 9, "tiff": 17, "avif": 5, "heic": 5}
"""How often each kind comes: JPEGs are what two decoders read, TIFFs what has most to lie about."""
_MOST_BYTES = 4 << 20
BY_KIND = {
    "jpeg": jpeg.DAMAGES,
    "png": png.DAMAGES,
    "gif": gif.DAMAGES,
    "bmp": bmp.DAMAGES,
    "webp": webp.DAMAGES,
    "tiff": tiff_tags.DAMAGES,
    "avif": isobmff.DAMAGES,
    "heic": isobmff.DAMAGES,
}
"""Damages of each kind beside those of any file; one that stands twice is as likely again."""


class Case(NamedTuple):
    """A damaged file."""

    number: int
    name: str
    """Its path below the folder of its block: class, number and ending."""
    data: bytes
    history: str
    """What it was made of, and how."""


def setting_of(seed: int, block: int) -> Setting:
    """By crop at 48 × 48 in colour mostly, and each other way now and then."""
    rng = Random(f"setting {seed}/{block}")
    fits: tuple[Literal["crop", "pad", "stretch"], ...] = ("crop", "crop", "crop", "pad", "stretch")
    channels: tuple[Literal[1, 3], ...] = (3, 3, 3, 3, 1)
    return Setting(
        size=rng.choice(((48, 48), (48, 48), (40, 56), (16, 24))),
        fit=rng.choice(fits),
        channels=rng.choice(channels),
        augment=rng.choice((None, None, None, None, None, "light", "standard")),
        batch_size=rng.choice((7, 32, 32, 64)),
        seed=rng.randrange(1000),
    )


class Cases:
    """Cases from some seeds."""

    def __init__(self, seeds: Sequence[Seed], seed: int) -> None:
        self.seed = seed
        by_kind: dict[str, list[Seed]] = collections.defaultdict(list)
        weights: dict[tuple[str, str], float] = collections.defaultdict(float)
        for one in seeds:
            by_kind[one.kind].append(one)
            weights[one.kind, one.origin] += one.weight
        self._kinds = [kind for kind in _SHARES if kind in by_kind]
        self._shares = [_SHARES[kind] for kind in self._kinds]
        self._seeds = dict(by_kind)
        self._sums = {  # a folder of thousands counts as much as one of ten
            kind: list(itertools.accumulate(one.weight / weights[kind, one.origin] for one in of)) for kind, of in by_kind.items()
        }

    def __getitem__(self, number: int) -> Case:
        rng = Random(f"case {self.seed}/{number}")
        kind = rng.choices(self._kinds, self._shares)[0]
        seed = self._drawn(kind, rng)
        data, history = seed.read(), [f"{seed.kind} {seed.name}"]
        for _ in range(rng.choices((0, 1, 2, 3, 6), (2, 60, 20, 10, 8))[0]):
            draw = rng.random()
            if draw < 0.08:
                other = self._drawn(kind, rng)
                data = splice(data, other.read(), rng)
                history.append(f"splice with {other.name}")
                continue
            damage = rng.choice(ANY if draw < 0.35 else BY_KIND[kind])
            data = damage(data, rng)[:_MOST_BYTES]
            history.append(damage.__name__.strip("_"))
        suffix = SUFFIXES[kind] if rng.random() < 0.97 else rng.choice(tuple(SUFFIXES.values()))
        return Case(number, f"{CLASSES[number % len(CLASSES)]}/{number:09}{suffix}", data, " · ".join(history))

    def _drawn(self, kind: str, rng: Random) -> Seed:
        sums = self._sums[kind]
        return self._seeds[kind][bisect.bisect(sums, rng.random() * sums[-1])]
