"""Detects drift: whether new images differ from the training images in kind, size, aspect or brightness, or in the model's confidence.

A Profile holds these statistics, and is kept in the run; thresholds are measured (docs/decisions/0014-calibration-and-drift.md).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from imgstream.errors import BadImage, RunError
from imgstream.files.reader import read_declared
from imgstream.formats.header import Header
from imgstream.index import ImageIndex
from imgstream.index.table.table import KINDS
from imgstream.spec import DEFAULT_MAX_PIXELS, SampleSpec

FORMAT_VERSION = 1
LEVELS = np.arange(5, 100, 5) / 100
"""Levels of the quantiles that are kept: 5 %, 10 %, … 95 %."""

FEWEST = 30
"""With fewer new images than this nothing is reported."""
_COMMON_KIND, _RARE_KIND = 0.20, 0.01
_MOST_OUTSIDE = 0.40
"""The largest share of new images outside the first and last quantile of training, where 10 % of its own are."""
_MOST_APART = 0.50
"""The largest difference of the two cumulative distributions (Kolmogorov-Smirnov), for a shift of the median that matters."""
_LESS_SURE, _STANDARD_ERRORS = 0.10, 3.0
_MOST_SECONDS = 3.0
"""The most time for reading headers; of a slow disk fewer are read."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """The distribution of a number over images."""

    n: int
    mean: float
    deviation: float
    quantiles: tuple[float, ...]
    """At LEVELS; zeros without images."""

    def share_below(self, values: Any) -> Any:
        """The share of the images below each of `values`, interpolated between the quantiles; 0 and 1 beyond the first and the last."""
        return np.interp(values, self.quantiles, LEVELS, left=0.0, right=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """Statistics of a set of images."""

    kinds: dict[str, float]
    """Shares of jpeg, png, …, the most frequent first."""
    log2_pixels: Figures
    """Of width × height, as stored."""
    log2_aspect: Figures
    """Of width / height, after orientation."""
    brightness: Figures
    """Of the mean over the pixels of each sample, 0 black to 1 white."""
    confidence: Figures
    """Of the highest scores, 0 to 1."""

    def to_json(self) -> dict[str, Any]:
        """The profile as values that JSON can hold, read back by from_json."""
        return {"format": FORMAT_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, data: Any) -> Profile:
        """The profile that to_json wrote. Raises RunError for another version, and for anything else."""
        version = data.get("format") if isinstance(data, dict) else type(data).__name__
        if version != FORMAT_VERSION:
            raise RunError(f"profile.json has format {version!r}; this imgstream reads format {FORMAT_VERSION}")
        try:
            kinds = {str(kind): float(share) for kind, share in data["kinds"].items()}
            figures = {name: _figures(data[name]) for name in ("log2_pixels", "log2_aspect", "brightness", "confidence")}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"profile.json is damaged: {error!r}") from error
        return cls(kinds=kinds, **figures)


class ProfileBuilder:
    """Collects a Profile, image by image, in constant memory: independent of the order, with quantiles exact to 0.01."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._pixels, self._aspect = _Histogram(0.0, 40.0), _Histogram(-20.0, 20.0)
        self._brightness, self._confidence = _Histogram(0.0, 1.0), _Histogram(0.0, 1.0)

    def add_header(self, header: Header) -> None:
        """Count what a file's header says."""
        width, height = header.oriented
        self._kinds[header.kind] += 1
        self._pixels.add(np.array([math.log2(width * height)]))
        self._aspect.add(np.array([math.log2(width / height)]))

    def add_images(self, images: np.ndarray, spec: SampleSpec) -> None:
        """Count a batch of samples, (B, H, W, C): pixels, or float32 in the scale of `spec`."""
        if not len(images):
            return
        if images.dtype == spec.pixel_type:
            self._brightness.add(images.reshape(len(images), -1).mean(axis=1, dtype=np.float64) / spec.white)
            return
        height, width, channels = images.shape[1:]
        rows = images.reshape(len(images), height, width * channels).mean(axis=1)  # along rows first: a sum over three channels is slow
        means = rows.reshape(len(images), width, channels).mean(axis=1, dtype=np.float64)
        black, white = spec.limits()
        self._brightness.add(((means - black) / (white - black)).mean(axis=1))

    def add_scores(self, scores: np.ndarray) -> None:
        """Count a batch of calibrated scores, float32 (B, K)."""
        self._confidence.add(scores.max(axis=1) if len(scores) else np.zeros(0))

    def merge(self, other: ProfileBuilder) -> None:
        """Count all that `other` has counted."""
        self._kinds.update(other._kinds)
        for name in ("_pixels", "_aspect", "_brightness", "_confidence"):
            getattr(self, name).merge(getattr(other, name))

    def profile(self) -> Profile:
        """The profile of all that was added so far."""
        total = max(1, self._kinds.total())
        return Profile(
            kinds={kind: count / total for kind, count in self._kinds.most_common()},
            log2_pixels=self._pixels.figures(),
            log2_aspect=self._aspect.figures(),
            brightness=self._brightness.figures(),
            confidence=self._confidence.figures(),
        )


def sample_headers(index: ImageIndex, n: int = 1000) -> list[Header]:
    """The headers of about `n` good files spread evenly over `index`, from the known facts or by opening the files.

    Opening ends after 3 seconds; as files are taken in a mixed order, those that were read are still a fair sample.
    """
    at = np.random.default_rng(0).permutation(np.unique(np.linspace(0, len(index) - 1, min(n, len(index))).astype(np.int64)))
    headers, ends = [], time.monotonic() + _MOST_SECONDS
    for i, known in zip(at.tolist(), index.facts_at(at), strict=True):
        if known["kind"]:
            headers.append(Header(KINDS[known["kind"]], int(known["width"]), int(known["height"]), int(known["orientation"])))
        elif time.monotonic() < ends:
            with contextlib.suppress(BadImage):
                headers.append(read_declared(index.path_bytes(i), DEFAULT_MAX_PIXELS)[0])
    return headers


def compare(trained: Profile, new: Profile) -> list[str]:
    """A line, with figures, for each way in which the `new` images differ from the training images; [] when they do not.

    Nothing is reported for fewer than 30 new images, or where training left no figures.
    """
    lines = []
    if min(new.log2_pixels.n, trained.log2_pixels.n) >= FEWEST:
        for kind, share in new.kinds.items():
            before = trained.kinds.get(kind, 0.0)
            if share >= _COMMON_KIND and before < _RARE_KIND:
                lines.append(f"kind: {100 * share:.0f} % of these files are {kind}, {100 * before:.1f} % of training's were")
    for what, name, matters, shown in _COMPARED:
        before, now = getattr(trained, name), getattr(new, name)
        if min(now.n, before.n) >= FEWEST and _differs(before, now, matters):
            low, median, high = (shown(before.quantiles[i]) for i in (0, 9, 18))
            within = now.share_below(before.quantiles[-1]) - now.share_below(before.quantiles[0])
            lines.append(
                f"{what}: median {shown(now.quantiles[9])} here, {median} in training, where 90 % lie from {low} to {high}; "
                f"here {100 * within:.0f} % do"
            )
    sure, less = trained.confidence, new.confidence
    if min(sure.n, less.n) >= FEWEST:
        error = math.hypot(sure.deviation / math.sqrt(sure.n), less.deviation / math.sqrt(less.n))
        if sure.mean - less.mean > max(_LESS_SURE, _STANDARD_ERRORS * error):
            lines.append(f"confidence: {less.mean:.2f} on average here, {sure.mean:.2f} on validation")
    return lines


def _differs(before: Figures, now: Figures, matters: float) -> bool:
    """Whether many new images lie outside the middle 90 % of training, or the two distributions are far apart.

    A shift by less than `matters` does not count, however narrow the training distribution was.
    """
    outside = now.share_below(before.quantiles[0] - matters / 2) + 1 - now.share_below(before.quantiles[-1] + matters / 2)
    places = np.array(before.quantiles + now.quantiles)
    places = np.concatenate(
        [places - matters / 20, places + matters / 20]
    )  # next to the quantiles, not at them: many images may have the same value
    apart = np.abs(now.share_below(places) - before.share_below(places)).max()
    shift = abs(now.quantiles[9] - before.quantiles[9])
    return bool(outside > _MOST_OUTSIDE or (apart > _MOST_APART and shift > matters))


def _pixels(log2: float) -> str:
    return f"{2**log2 / 1e6:.2g} MP" if log2 < math.log2(10e6) else f"{2**log2 / 1e6:.0f} MP"


def _aspect(log2: float) -> str:
    return f"{2**log2:.2f}"


def _brightness(value: float) -> str:
    return f"{value:.2f}"


_COMPARED: tuple[tuple[str, str, float, Callable[[float], str]], ...] = (
    ("size", "log2_pixels", 1.0, _pixels),  # half or twice the pixels
    ("width/height", "log2_aspect", 0.2, _aspect),  # 15 %
    ("brightness", "brightness", 0.1, _brightness),
)
"""What is compared: its name, the field, a shift that matters, and how it is shown."""


class _Histogram:
    """Counts in equal bins, and the sums for mean and deviation. Values beyond `low` and `high` count as those."""

    BINS = 4096

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._counts = np.zeros(self.BINS, np.int64)
        self._sums = np.zeros(2)

    def add(self, values: np.ndarray) -> None:
        """Count float (m,); values that are not finite are left out."""
        values = np.asarray(values, np.float64)
        values = np.clip(values[np.isfinite(values)], self._low, self._high)
        places = ((values - self._low) / (self._high - self._low) * self.BINS).astype(np.int64)
        self._counts += np.bincount(np.minimum(places, self.BINS - 1), minlength=self.BINS)
        self._sums += values.sum(), (values**2).sum()

    def merge(self, other: _Histogram) -> None:
        """Count what `other` has counted."""
        self._counts += other._counts
        self._sums += other._sums

    def figures(self) -> Figures:
        """The figures of all values so far, rounded to six decimals to keep the file short."""
        n = int(self._counts.sum())
        if not n:
            return Figures(0, 0.0, 0.0, (0.0,) * len(LEVELS))
        mean, square = (self._sums / n).tolist()
        cumulative = np.cumsum(self._counts)
        at = np.searchsorted(cumulative, LEVELS * n)  # the bin where a quantile lies; within it, values are taken for evenly spread
        within = 1 - (cumulative[at] - LEVELS * n) / self._counts[at]
        quantiles = self._low + (at + within) * (self._high - self._low) / self.BINS
        return Figures(n, round(mean, 6), round(math.sqrt(max(0.0, square - mean**2)), 6), tuple(np.round(quantiles, 6).tolist()))


def _figures(data: dict[str, Any]) -> Figures:
    quantiles = tuple(float(value) for value in data["quantiles"])
    if len(quantiles) != len(LEVELS):
        raise ValueError(f"{len(quantiles)} quantiles, not {len(LEVELS)}")
    return Figures(int(data["n"]), float(data["mean"]), float(data["deviation"]), quantiles)
