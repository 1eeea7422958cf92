"""Images with what a person wants to know of each: its name, label, prediction, best scores, and where the model looked."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from imgstream.evaluation.metrics import softmax
from imgstream.index import ImageIndex
from imgstream.models.forward import Forward, Program
from imgstream.prediction.rows import shown
from imgstream.report.attention import ClassMaps, overlay
from imgstream.report.measure import Measurement
from imgstream.report.thumbnails import thumbnails
from imgstream.spec import SampleSpec
from imgstream.stream import Stream

_BATCH_SIZE = 32
_BARS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tile:
    """One image of a page."""

    path: str
    exact: str | None
    """The path's bytes in base64 where the text is not exact; see exact_of."""
    source: str | None = None
    """A data: address; None where the image cannot be read."""
    error: str | None = None
    label: str | None = None
    predicted: str | None = None
    bars: tuple[tuple[str, float], ...] = ()
    """The best classes with their scores."""
    looked: str | None = None
    """The data: address of the picture to lay over it."""

    @property
    def alt(self) -> str:
        """What the image shows, for who does not see it."""
        said = [f"labelled {self.label}" if self.label is not None else "", f"predicted {self.predicted}" if self.predicted else ""]
        return ", ".join([self.path, *filter(None, said)])

    @property
    def is_wrong(self) -> bool:
        """Whether another class than its label was predicted."""
        return self.label is not None and self.predicted is not None and self.label != self.predicted


def exact_of(path: bytes) -> str | None:
    """The path's bytes in base64 where a browser would not give them back: no UTF-8, or a line end that HTML changes."""
    is_plain = b"\r" not in path and b"\0" not in path
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        is_plain = False
    return None if is_plain else base64.b64encode(path).decode("ascii")


def plain_tiles(
    index: ImageIndex,
    positions: Iterable[int],
    spec: SampleSpec,
    *,
    side: int,
    workers: int | None = None,
    names: Mapping[int, bytes] | None = None,
) -> dict[int, Tile]:
    """A tile of each position, without predictions. `names`: what is shown in place of the path that the index has."""
    wanted = sorted(set(positions))
    sources, errors = thumbnails(index, wanted, spec, side=side, workers=workers)
    labels = dict(zip(wanted, index.labels_at(np.array(wanted, np.int64)).tolist(), strict=True)) if wanted else {}
    found = {}
    for at in wanted:
        path = index.relative_bytes(at) if names is None else names[at]
        label = index.label_names[labels[at]] if labels[at] >= 0 else None
        found[at] = Tile(path=shown(path), exact=exact_of(path), source=sources.get(at), error=errors.get(at), label=label)
    return found


def scored_tiles(
    model: Any,
    temperature: float,
    spec: SampleSpec,
    measured: Measurement,
    positions: Iterable[int],
    *,
    side: int,
    workers: int | None = None,
    until: float | None = None,
) -> dict[int, Tile]:
    """A tile of each position, with the model's best scores and where it looked for the class that it predicts.

    When time.monotonic() is `until`, the rest has what was measured before: two scores, and not where the model looked.
    """
    index, names = measured.index, measured.class_names
    tiles = {
        at: _measured(tile, measured.rows[at], names)
        for at, tile in plain_tiles(index, positions, spec, side=side, workers=workers).items()
    }
    if not tiles:
        return tiles
    wanted = np.array(sorted(tiles), np.int64)
    forward, look = Forward(Program(model, spec), _BATCH_SIZE), ClassMaps(model, spec, _BATCH_SIZE)
    for batch in Stream(index.take(wanted), spec, batch_size=_BATCH_SIZE, workers=workers, dtype="uint8").traced_batches():
        if until is not None and time.monotonic() >= until:
            break
        if not len(batch.images):
            continue
        scores = softmax(forward(batch.images) / temperature)
        best = np.argsort(-np.nan_to_num(scores, nan=-1.0), axis=1, kind="stable")[:, :_BARS]
        found = look(batch.images, best[:, 0]) if look.available else None
        for number, at in enumerate(wanted[batch.positions].tolist()):
            bars = tuple((names[k], float(scores[number, k])) for k in best[number])
            looked = None if found is None else overlay(found[number])
            tiles[at] = dataclasses.replace(tiles[at], bars=bars, looked=looked)
    return tiles


def _measured(tile: Tile, row: np.void, names: Sequence[str]) -> Tile:
    if row["predicted"] < 0:
        return tile
    predicted, label = names[row["predicted"]], names[row["label"]] if row["label"] >= 0 else None
    bars = [(predicted, float(row["score"])), *([(label, float(row["label_score"]))] if label not in (None, predicted) else [])]
    return dataclasses.replace(tile, predicted=predicted, bars=tuple(bars))
