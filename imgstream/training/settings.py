"""What can be asked of training."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

from imgstream.cache import DEFAULT_LIMIT, PixelCache
from imgstream.errors import DatasetError
from imgstream.stream.choice import CHOICES

DEFAULT_EPOCHS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The options of `imgstream train`; each is a keyword of imgstream.train. Raises DatasetError for impossible values."""

    val: str | None = None
    """A folder of class folders to validate on; None takes `val_share` of the training folder (contract: split by hash)."""
    val_share: float = 0.2
    """The share of images held out for validation, between 0 and 1, when there is no `val`."""
    group: str | None = None
    """Images that belong together stay on one side of the split: folder, column, a file, or a pattern; see imgstream.index.groups."""
    fold: str | None = None
    """"k/n": validate on the k-th of n parts, k from 1, instead of on `val_share`."""
    exclude: str | None = None
    """A file of paths to leave out, as check --quarantine writes it."""
    root: str | None = None
    """Where a manifest's paths begin; None: in the manifest's own folder."""
    columns: dict[str, str] | None = None
    """A manifest's columns: path, label, split, group and weight → name or number."""
    allow_outside: bool = False
    """Take a manifest's paths that lead out of its root."""
    size: tuple[int, int] | None = None
    """(height, width) of a sample in pixels; None takes the model's own."""
    fit: str = "crop"
    channels: int = 3
    model: str = "cnn"
    weights: str = "none"
    """none, imagenet, or a file of weights to begin with."""
    augment: Any = "light"
    epochs: int | None = None
    """Passes over the training images; DEFAULT_EPOCHS when `minutes` is not given either."""
    minutes: float | None = None
    """Wall time of the whole command; the schedule is fitted to it."""
    batch_size: int = 64
    learning_rate: float | None = None
    """The peak of the one-cycle schedule; None takes 0.05 for new weights and 0.01 for given ones, per 64 images."""
    label_smoothing: float = 0.1
    balance: bool = False
    """Weigh classes by the inverse of their frequency."""
    patience: int | None = None
    """Stop after this many validations without a better one; None never does: a one-cycle schedule gains most at its end."""
    pipeline: str = "auto"
    """Who reads and decodes: python, tf, or auto, the faster; see stream.choose_pipeline."""
    cache: str = "off"
    """Where decoded images are kept, so that none is decoded twice: off, auto (the user's cache folder), or a folder."""
    cache_limit: int = DEFAULT_LIMIT
    """The most bytes that the cache may take."""
    seed: int = 0
    workers: int | None = None
    label_pattern: str | None = None
    max_bad: float = 0.05
    """Stop when more than max(20, this share) of an epoch's files so far are bad."""

    def __post_init__(self) -> None:
        if self.epochs is not None and self.minutes is not None:
            raise DatasetError("give either epochs or minutes: the one fixes the work, the other the time")
        for name, value, low, high in (
            ("epochs", self.epochs, 1, 1_000_000),
            ("minutes", self.minutes, 0.05, 1_000_000),
            ("batch_size", self.batch_size, 1, 65_536),
            ("learning_rate", self.learning_rate, 1e-8, 100),
            ("patience", self.patience, 1, 1_000_000),
            ("workers", self.workers, 1, 1024),
            ("cache_limit", self.cache_limit, 1, 10**18),
            ("label_smoothing", self.label_smoothing, 0, 0.9),
            ("max_bad", self.max_bad, 0, 1),
        ):
            if value is not None and not (math.isfinite(value) and low <= value <= high):
                raise DatasetError(f"{name} must be from {low} to {high}; got {value}")
        if self.pipeline not in CHOICES:
            raise DatasetError(f"pipeline must be one of {', '.join(CHOICES)}; got {self.pipeline!r}")
        if self.fold is not None:
            _ = self.fold_numbers
            if self.val is not None:
                raise DatasetError("give either val, a folder to validate on, or fold, a part of the training images")
        if not 0 < self.val_share < 1:
            raise DatasetError(f"val_share must lie between 0 and 1; got {self.val_share}")

    @property
    def fold_numbers(self) -> tuple[int, int] | None:
        """(k, n), k counted from 0; None without a fold. Raises DatasetError when it cannot be."""
        if self.fold is None:
            return None
        match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", str(self.fold))
        if not match or not 1 <= int(match[1]) <= int(match[2]) or not 2 <= int(match[2]) <= 100:
            raise DatasetError(f"fold is k/n, the k-th of n parts, such as 1/5; got {self.fold!r}")
        return int(match[1]) - 1, int(match[2])

    @property
    def planned_epochs(self) -> int | None:
        """The number of epochs, or None when time rules."""
        return self.epochs if self.minutes is not None else self.epochs or DEFAULT_EPOCHS

    @property
    def peak_learning_rate(self) -> float:
        """The schedule's peak for this batch size, scaled linearly (Goyal et al., 2017)."""
        base = self.learning_rate or (0.05 if self.weights == "none" else 0.01) * self.batch_size / 64
        return float(base)

    def pixel_cache(self, size: tuple[int, int]) -> PixelCache | None:
        """The cache for samples of up to `size`, (height, width); None when it is off."""
        return None if self.cache == "off" else PixelCache(None if self.cache == "auto" else self.cache, self.cache_limit, size)

    def to_json(self, augmentation: dict[str, Any]) -> dict[str, Any]:
        """JSON-ready; the augmentation in its own form."""
        return {"format": 1, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, "augment": augmentation}
