"""Features, labels and weights for training a head: computed once or read from a file, kept on disk and memory-mapped."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from imgstream.embedding.features_file import FeaturesFile, fingerprint
from imgstream.errors import REASONS, BadImage, DatasetError
from imgstream.files.atomic import translated
from imgstream.index import ImageIndex
from imgstream.index.split.path_hash import keys_of, path_hashes
from imgstream.models.forward import Forward, Program
from imgstream.stream import Stream

Progress = Callable[[int], None]
"""Called with the number of rows done so far."""


class FeatureTable(NamedTuple):
    """The n rows that a head is fitted to, without bad files and without images of no class."""

    features: np.ndarray
    """float32 (n, D), read-only, mapped from an unnamed file that is deleted when nobody holds it."""
    labels: np.ndarray
    """int32 (n,); with several labels an image, float32 (n, K) of 0 and 1."""
    weights: np.ndarray | None
    """float32 (n,): sample weights; None if the index has none."""


def head_data(
    model: Any,
    stream: Stream,
    features_file: str | os.PathLike[str] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> FeatureTable:
    """The features of a stream's images, not shuffled and not augmented. Bad files go to `stream.skipped`.

    `model`: float32 (B, *spec.shape) → float32 (B, D), as models.features gives it. With `features_file`, which imgstream embed wrote,
    nothing is decoded: rows are found by their paths relative to the index's root. `class_names`: the classes that labels refer to (None:
    the index's own); images of others are left out. `folder`: where features are kept meanwhile, 4 D bytes an image (None: the system's
    temporary folder). Memory: a batch, and about 30 bytes an image.

    Raises DatasetError when the file cannot be read, was made with another model or spec, or lacks images of the stream; OutputError when
    `folder` has no room.
    """
    index = stream.index
    names = index.class_names if class_names is None else list(class_names)
    new_labels = np.array([names.index(name) if name in names else -1 for name in index.class_names] + [-1], np.int32)
    with _Rows(index, new_labels, len(names), int(model.output_shape[-1]), folder) as rows:
        if features_file is None:
            _compute(model, stream, rows, progress)
        else:
            _take(FeaturesFile(features_file), fingerprint(model, stream.spec), stream, rows, progress)
        return rows.table()


class _Rows:
    """A growing table: features in an unnamed file, labels and weights in memory."""

    def __init__(
        self, index: ImageIndex, new_labels: np.ndarray, classes: int, dimensions: int, folder: str | os.PathLike[str] | None
    ) -> None:
        self._index, self._new_labels, self._classes, self._dimensions = index, new_labels, classes, dimensions
        self._folder = tempfile.gettempdir() if folder is None else os.fspath(folder)
        self._labels: list[np.ndarray] = []
        self._weights: list[np.ndarray] = []
        with translated(self._folder):
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115  # as long as the table is being made

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def labels_of(self, positions: np.ndarray) -> np.ndarray:
        """int32 (m,): -1 for images of none of the classes; with several labels an image, float32 (m, K): -1 for those without labels."""
        targets = self._index.targets_at(positions)
        if not self._index.is_multi_label:
            return self._new_labels[targets]
        kept = self._new_labels[:-1] >= 0
        found = np.zeros((len(targets), self._classes), np.float32)
        found[:, self._new_labels[:-1][kept]] = targets[:, kept]
        found[targets[:, 0] < 0] = -1
        return found

    def labelled(self, positions: np.ndarray) -> np.ndarray:
        """Whether each image has a label: bool (m,)."""
        labels = self.labels_of(positions)
        return labels >= 0 if labels.ndim == 1 else labels[:, 0] >= 0

    def append(self, positions: np.ndarray, features: np.ndarray) -> None:
        """Add the images at `positions`, all of which have labels: float32 (m, D)."""
        rest = memoryview(np.ascontiguousarray(features, np.float32).tobytes())
        with translated(self._folder):
            while rest:  # written, not mapped: a full disk is then an error, and does not kill the process
                rest = rest[self._file.write(rest) :]
        self._labels.append(self.labels_of(positions))
        weights = self._index.weights_at(positions)
        if weights is not None:
            self._weights.append(weights)

    def table(self) -> FeatureTable:
        """The table of all that was added. Raises DatasetError when that is nothing."""
        if not sum(map(len, self._labels)):
            raise DatasetError(f"none of the {len(self._index):,} images under {self._index.root!r} can be read and has a label")
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        features = np.frombuffer(mapped, np.float32).reshape(-1, self._dimensions)
        return FeatureTable(features, np.concatenate(self._labels), np.concatenate(self._weights) if self._weights else None)


def _compute(model: Any, stream: Stream, rows: _Rows, progress: Progress | None) -> None:
    forward, done = Forward(Program(model, stream.spec), stream.batch_size), 0
    for batch in stream.replace(augment=None, shuffle=False, shard=(0, 1), dtype=stream.spec.pixel_type).traced_batches():
        wanted = rows.labelled(batch.positions)
        if wanted.any():
            rows.append(batch.positions[wanted], forward(batch.images if wanted.all() else batch.images[wanted]))
        for position, error in batch.bad:
            stream.note_bad(stream.index.path_bytes(position), error)
        done += len(batch.positions) + len(batch.bad)
        if progress is not None:
            progress(done)


def _take(file: FeaturesFile, expected: str, stream: Stream, rows: _Rows, progress: Progress | None) -> None:
    index = stream.index
    if file.info.fingerprint != expected:
        height, width, channels = file.info.spec.shape
        other = "another sample specification" if file.info.spec != stream.spec else "other weights"
        raise DatasetError(
            f"{file.path!r} was made with another model or another size: {file.info.model} at {height}x{width}x{channels}, with {other} "
            "than here. Make it again with imgstream embed"
        )
    path_positions, found, done = _PathPositions(index), np.zeros(len(index), bool), 0
    for block in file.blocks():
        good, positions = [], []
        row = 0
        for at, error in zip(path_positions.of(block.paths), block.errors, strict=True):
            found[at] = True
            if error is not None:
                for position in at:
                    stream.note_bad(index.path_bytes(position), _bad_image(error))
                continue
            good += [row] * len(at)
            positions += at
            row += 1
        at_once = np.array(positions, np.int64)
        wanted = rows.labelled(at_once)
        rows.append(at_once[wanted], block.features[np.array(good, np.int64)[wanted]])
        done += len(block.paths)
        if progress is not None:
            progress(done)
    if not found.all():
        missing = index.relative_bytes(int(np.flatnonzero(~found)[0]))
        raise DatasetError(
            f"{file.path!r} has no row for {np.count_nonzero(~found):,} of the {len(index):,} images under {index.root!r}, such as "
            f"{os.fsdecode(missing)!r}: it was made of another folder, or before they were there. Make it again with imgstream embed"
        )


class _PathPositions:
    """Finds the positions of paths in an index: 16 bytes an image."""

    def __init__(self, index: ImageIndex) -> None:
        self._index = index
        keys = np.concatenate([path_hashes(index.table, index.positions_at(at), 0) for at in index.chunks()] or [np.zeros(0, np.uint64)])
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def of(self, paths: list[bytes]) -> list[list[int]]:
        """For each path, relative to the root, all positions in the index that have it."""
        keys = keys_of(paths)
        first, last = np.searchsorted(self._keys, keys, "left").tolist(), np.searchsorted(self._keys, keys, "right").tolist()
        return [
            [place for place in self._order[low:high].tolist() if self._index.relative_bytes(place) == path] if low < high else []
            for path, low, high in zip(paths, first, last, strict=True)
        ]


def _bad_image(error: str) -> BadImage:
    reason, _, detail = error.partition(": ")
    return BadImage(reason, detail) if reason in REASONS else BadImage("corrupt", error)
