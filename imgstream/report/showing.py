"""What `show` of an index and of a stream draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgstream.decode.depth import depth_of
from imgstream.errors import NoImagesError
from imgstream.index import ImageIndex
from imgstream.index.selection import SEPARATOR
from imgstream.order import permute
from imgstream.report.charts.figure import Chart
from imgstream.report.charts.images import draw_grid
from imgstream.spec import SampleSpec
from imgstream.stream import Stream
from imgstream.wording import printable

_SIDE = 160


def index(value: ImageIndex, *, n: int, seed: int) -> Chart:
    """`n` images chosen by `seed`, each under its label and its name."""
    chosen = np.sort(permute(np.arange(min(n, len(value))), len(value), seed, 0))
    some = value.take(chosen)
    spec = SampleSpec(size=(_SIDE, _SIDE), levels=depth_of(some).levels)
    stream = Stream(some, spec, batch_size=max(1, min(n, 32)), dtype="uint8")
    images, titles = [], []
    for batch in stream.traced_batches():
        labels = stream.index.labels_at(batch.positions)
        for position, label, image in zip(batch.positions.tolist(), labels.tolist(), batch.images, strict=True):
            name = stream.index.relative_bytes(position).decode("utf-8", "replace").rpartition("/")[2]
            images.append(image)
            titles.append(_title(f"{value.label_names[label]}\n" if label >= 0 else "", name))
    if not images:
        raise NoImagesError(f"none of the {len(chosen)} images tried under {value.root} could be read: {stream.skipped[0][1]}")
    return draw_grid(images, titles)


def stream(value: Stream, *, n: int, epoch: int) -> Chart:
    """The first `n` samples of an epoch as a model gets them, augmented, under their labels."""
    names, several = value.index.class_names, value.index.is_multi_label
    images, titles = [], []
    for batch in value.replace(dtype="uint8").traced_batches(epoch):
        for label, image in zip(batch.labels, batch.images, strict=True):
            images.append(image)
            titles.append(_title("", _label(label, names, several)))
        if len(images) >= n:
            break
    if not images:
        raise NoImagesError(f"none of the images under {value.index.root} could be read")
    return draw_grid(images[:n], titles[:n])


def _label(label: Any, names: list[str], several: bool) -> str:
    if several and np.isin(label, (0, 1)).all():
        return SEPARATOR.join(names[k] for k in np.flatnonzero(label)) or "(none)"
    if np.ndim(label):  # mixed: a share of each class
        return " + ".join(f"{100 * share:.0f} % {names[k]}" for k, share in enumerate(label) if share > 0)
    return names[label] if label >= 0 else "(no label)"


def _title(first: str, text: str) -> str:
    shown = printable(text)
    return first + (shown if len(shown) <= 24 else "…" + shown[-23:])
