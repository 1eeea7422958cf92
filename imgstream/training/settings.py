"""What can be asked of training."""

from __future__ import annotations

import dataclasses
import math
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
        if not 0 < self.val_share < 1:
            raise DatasetError(f"val_share must lie between 0 and 1; got {self.val_share}")

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
