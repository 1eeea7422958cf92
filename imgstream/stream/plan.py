"""The checked arguments of a stream, and the order and batches that follow from them. Both pipelines make their batches from a plan."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np

from imgstream.augment import OperationPreset, resolve
from imgstream.cache import PixelCache
from imgstream.errors import AugmentError, BadImage, SpecError
from imgstream.index import ImageIndex
from imgstream.order import permute
from imgstream.spec import SampleSpec
from imgstream.stream.batch import Batch, Request
from imgstream.stream.workers.sample_job import SampleJob

OnBad = Literal["skip", "raise"]
Pipeline = Literal["python", "tf"]
SampleType = Literal["float32", "uint8", "uint16"]

ORDER_BLOCK = 2048  # positions ordered at a time: the vectorised permutation costs the same for 32 as for a thousand


class BatchPlan:
    """The checked arguments of a Stream, the order of its rows, and the bad files met so far. For arguments and errors see Stream."""

    def __init__(
        self,
        index: ImageIndex,
        spec: SampleSpec | None = None,
        *,
        augment: Any = None,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        on_bad: OnBad = "skip",
        workers: int | None = None,
        cache: Literal["auto"] | str | os.PathLike[str] | PixelCache | None = None,
        shard: tuple[int, int] = (0, 1),
        pipeline: Pipeline = "python",
        dtype: SampleType | np.dtype[Any] = "float32",
    ) -> None:
        if not isinstance(index, ImageIndex):
            raise SpecError(f"Stream reads an index: Stream(imgstream.scan({index!r}), …)")
        if spec is not None and not isinstance(spec, SampleSpec):
            size = spec if isinstance(spec, int | tuple | list) else (224, 224)
            raise SpecError(f"spec must be a SampleSpec, such as SampleSpec(size={size!r}); got {spec!r}")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise SpecError(f"batch_size must be a whole number, 1 or more; got {batch_size!r}")
        if on_bad not in get_args(OnBad):
            raise SpecError(f'on_bad must be "skip" or "raise"; got {on_bad!r}')
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise SpecError(f"workers must be None or a whole number of threads, 1 or more; got {workers!r}")
        if cache is not None and not isinstance(cache, str | os.PathLike | PixelCache):
            raise SpecError(f'cache must be None, "auto" or the path of a folder; got {cache!r}')
        if not 0 <= shard[0] < shard[1]:
            raise SpecError(f"shard must be (k, n) with 0 <= k < n; got {shard!r}")
        if pipeline not in get_args(Pipeline):
            raise SpecError(f'pipeline must be "python" or "tf"; got {pipeline!r}')
        self.index, self.spec = index, spec if spec is not None else SampleSpec()
        self.augmentation, self.dtype = resolve(augment), _sample_type(dtype, self.spec)
        if self.spec.levels is not None and isinstance(self.augmentation, OperationPreset):
            raise AugmentError(
                f"{self.augmentation.name} is made of operations on images of 8 bits, and the spec has levels: leave out the levels, or "
                "take light, standard or strong"
            )
        self.batch_size, self.shuffle, self.seed = int(batch_size), bool(shuffle), int(seed)
        self.on_bad, self.workers, self.pipeline = on_bad, workers, pipeline
        self.cache = PixelCache() if cache == "auto" else cache if cache is None or isinstance(cache, PixelCache) else PixelCache(cache)
        self._shard = shard
        self._skipped: dict[bytes, str] = {}
        self.decoded_by_tensorflow = 0
        """Number of images that TensorFlow has decoded so far for `to_tf`; the reference decoder read the others."""

    def __len__(self) -> int:
        """Number of batches in an epoch: ceil(samples / batch_size), before bad files are left out."""
        return -(-self.sample_count // self.batch_size)

    def __repr__(self) -> str:
        name = self.augmentation.name if self.augmentation is not None else None
        return f"Stream({self.sample_count} samples in {len(self)} batches of {self.batch_size}, {self.spec}, augment={name!r})"

    @property
    def sample_count(self) -> int:
        """Number of rows in an epoch, good and bad."""
        k, n = self._shard
        return max(0, -(-(len(self.index) - k) // n))

    @property
    def sample_job(self) -> SampleJob:
        """What workers need to make samples of this stream."""
        return SampleJob(
            spec=self.spec, augmentation=self.augmentation, seed=self.seed, cache=self.cache, facts=self.index.facts, dtype=self.dtype
        )

    @property
    def thread_count(self) -> int:
        """Number of threads that decode: `workers`, or one for each CPU core of this process."""
        return self.workers or cpu_count()

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of every bad file met so far, each once, in the order they were met; the path is as index.path gives it."""
        return [(os.fsdecode(path), reason) for path, reason in list(self._skipped.items())]

    def elements(self, batch: Batch) -> tuple[np.ndarray, ...]:
        """A batch of this stream as Keras takes it: (images, labels), or (images, labels, weights) where the index has sample weights."""
        weights = self.index.weights_at(batch.positions)
        return (batch.images, batch.labels) if weights is None else (batch.images, batch.labels, weights)

    def note_bad(self, path: bytes, error: BadImage) -> None:
        """Add a bad file to `skipped`."""
        self._skipped.setdefault(path, error.reason)

    def ordered(self, epoch: int, first: int, last: int) -> np.ndarray:
        """int64 (m,): the index positions at places `first` to `last` (exclusive) of the epoch's order, fewer at its end."""
        k, n = self._shard
        places = k + n * np.arange(first, min(last, self.sample_count), dtype=np.int64)
        return permute(places, len(self.index), self.seed, epoch) if self.shuffle else places

    def requests(self, epoch: int, start: int) -> Iterator[Request]:
        """The epoch's batches from number `start` on, as requests to the workers."""
        size = self.batch_size
        block_batches = max(1, ORDER_BLOCK // size)
        for first in range(start, len(self), block_batches):
            ordered = self.ordered(epoch, first * size, (first + block_batches) * size)
            for offset in range(0, len(ordered), size):
                positions = ordered[offset : offset + size]
                number = first + offset // size
                yield Request(number, epoch, positions, self.index.rows_at(positions).astype(np.int64), self.index.targets_at(positions))


def _sample_type(dtype: Any, spec: SampleSpec) -> np.dtype[Any]:
    """The dtype of samples, by name or as NumPy has it. Raises SpecError."""
    with contextlib.suppress(TypeError):
        if np.dtype(dtype).name in get_args(SampleType):
            if np.dtype(dtype) == np.uint16 and spec.levels is None:
                raise SpecError('dtype "uint16", pixels of 16 bits, needs a spec with levels; without them pixels are "uint8"')
            return np.dtype(dtype)
    raise SpecError(f'dtype must be "float32", scaled samples, or "uint8" or "uint16", pixels; got {dtype!r}')


def cpu_count() -> int:
    """Number of CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
