"""Measures a model on images in one pass: a few numbers for each image, and the features of a sample."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from imgstream.check.file_records import mapped
from imgstream.errors import REASONS, ModelError
from imgstream.evaluation.drift import Profile, ProfileBuilder, sample_headers
from imgstream.evaluation.metrics import softmax
from imgstream.index import ImageIndex
from imgstream.models.features import with_features
from imgstream.models.forward import Forward, Program
from imgstream.report.thumbnails import encoded
from imgstream.spec import SampleSpec
from imgstream.stream import Stream

ROW = np.dtype([("label", np.int32), ("predicted", np.int32), ("score", np.float32), ("label_score", np.float32), ("state", np.uint8)])
"""What is kept of an image: its label and the class predicted, as positions in the model's classes (-1 for none), the scores of both, and
`state`: UNSEEN, GOOD, or 2 + the position of its reason in REASONS.
"""
UNSEEN, GOOD, _BAD = 0, 1, 2
MOST_POINTS, _MOST_FEATURE_BYTES = 100_000, 1 << 28
"""Images whose features are kept, for the map, and what these take on disk: fewer images of long features."""
MOST_THUMBNAILS = 1_200
"""Images of the map that are shown when they are pointed at."""
_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Measurement:
    """What a model says of the images of an index, or of a fair sample of them."""

    index: ImageIndex
    class_names: list[str]
    """The model's; labels and predictions are positions in it."""
    rows: np.ndarray
    """ROW (n,), in index order."""
    features: np.ndarray
    """float32 (m, D): of the images at `feature_rows`; (0, 0) where the model has no vector of features."""
    feature_rows: np.ndarray
    """int64 (m,): positions in the index."""
    thumbnails: list[bytes]
    """JPEG files of the first images at `feature_rows`, as the model sees them."""
    profile: Profile
    """Statistics of these images, as a run has them of its own."""
    other_classes: list[str]
    """Labels in the index that are no class of the model; their images count as unlabelled."""

    @property
    def good(self) -> np.ndarray:
        """Whether each image was measured: bool (n,)."""
        return self.rows["state"] == GOOD

    @property
    def labelled(self) -> np.ndarray:
        """Positions of the measured images that have a label of the model's: int64 (m,)."""
        return np.flatnonzero(self.good & (self.rows["label"] >= 0))

    @property
    def seen(self) -> int:
        """Number of files that were read, bad ones included."""
        return int((self.rows["state"] != UNSEEN).sum())

    def bad(self) -> dict[str, np.ndarray]:
        """Reason → positions of the files that were found bad for it, int64 (m,), the most frequent first."""
        found = {reason: np.flatnonzero(self.rows["state"] == _BAD + number) for number, reason in enumerate(REASONS)}
        return dict(sorted(((reason, at) for reason, at in found.items() if len(at)), key=lambda item: -len(item[1])))


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Inside the block TensorFlow does not advise against tracing often: a report has three models, each of which is traced once."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def measure(
    model: Any,
    class_names: Sequence[str],
    spec: SampleSpec,
    temperature: float,
    index: ImageIndex,
    *,
    most: int | None = None,
    until: float | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Measurement:
    """Measure `model`, which gives logits, on `index`, in a mixed order: on all of it, on about `most` images, or until time.monotonic() is
    `until`. What was measured is a fair sample. Memory: 17 bytes an image, on disk when they are many, and the sample's features.
    """
    names = list(class_names)
    to_model = np.array([names.index(name) if name in names else -1 for name in index.class_names] + [-1], np.int64)
    try:
        whole = with_features(model)
    except ModelError:
        whole = model
    stream = Stream(index, spec, batch_size=_BATCH_SIZE, shuffle=True, workers=workers, dtype=spec.pixel_type)
    forward, classes = Forward(Program(whole, spec), _BATCH_SIZE), len(names)
    rows, profile = mapped((len(index),), ROW), ProfileBuilder()
    rows["label"] = rows["predicted"] = -1
    length = whole.outputs[0].shape[-1] - classes
    points = min(MOST_POINTS, _MOST_FEATURE_BYTES // (4 * max(1, length)), len(index), most or len(index))
    features = mapped((points, length), np.dtype(np.float32))
    feature_rows, kept, done = np.zeros(points, np.int64), 0, 0
    thumbnails: list[bytes] = []
    for batch in stream.traced_batches():
        for position, error in batch.bad:
            rows["state"][position] = _BAD + REASONS.index(error.reason)
        if len(batch.images):
            found = forward(batch.images)
            scores, at = softmax(found[:, :classes] / temperature), batch.positions
            labels, best = to_model[batch.labels], scores.argmax(axis=1)
            each = np.arange(len(at))
            rows["label"][at], rows["predicted"][at], rows["score"][at] = labels, best, scores[each, best]
            rows["label_score"][at] = np.where(labels >= 0, scores[each, labels], np.nan)
            rows["state"][at] = GOOD
            new = min(len(at), points - kept)
            features[kept : kept + new], feature_rows[kept : kept + new] = found[:new, classes:], at[:new]
            kept += new
            thumbnails += [encoded(image) for image in batch.images[: max(0, min(new, MOST_THUMBNAILS - len(thumbnails)))]]
            profile.add_images(batch.images, spec)
            profile.add_scores(scores)
        done += len(batch.positions) + len(batch.bad)
        if progress is not None:
            progress(done)
        if (most is not None and done >= most) or (until is not None and time.monotonic() >= until):
            break
    for header in sample_headers(index):
        profile.add_header(header)
    return Measurement(
        index=index,
        class_names=names,
        rows=rows,
        features=features[:kept],
        feature_rows=feature_rows[:kept],
        thumbnails=thumbnails,
        profile=profile.profile(),
        other_classes=[name for name in index.class_names if name not in names],
    )
