"""Stream: an index and a spec become float32 batches, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from imgstream.augment import resolve
from imgstream.cache import PixelCache
from imgstream.errors import BadImage, SpecError
from imgstream.index import ImageIndex
from imgstream.order import permute
from imgstream.spec import SampleSpec
from imgstream.stream.batch import Batch, Request
from imgstream.stream.engine import Engine
from imgstream.stream.maker import Work

if TYPE_CHECKING:
    import tensorflow as tf

    from imgstream.stream.keras import KerasStream

OnBad = Literal["skip", "raise"]
Pipeline = Literal["python", "tf"]

ORDER_BLOCK = 2048  # positions ordered at a time: the vectorised permutation costs the same for 32 as for a thousand


class Stream:
    """Batches of images and labels from an index, in constant memory.

    Args:
        index: what to read; see imgstream.scan.
        spec: what a sample is.
        augment: None, "light", "standard", "strong", a policy file, "file.py:function", an albumentations transform, or a callable
            (image uint8 (H, W, C), rng numpy Generator) -> image of the same shape and dtype.
        batch_size: samples in a batch. Memory: about four batches are in flight.
        shuffle: an exact permutation of all rows, another one each epoch; False keeps the index's order.
        seed: of the order and of every sample's augmentation. Any whole number.
        on_bad: "skip" leaves bad files out and lists them in `skipped`; "raise" raises BadImage at the first.
        workers: threads; None takes one for each CPU core of this process. Batches are the same, to the bit, for any number. More than
            one interpreter lock can serve (about eight) are spread over worker processes, on Linux.
        cache: "auto" (in the user's cache folder), a folder or a PixelCache: keep decoded images there, small, and decode none twice.
            An augmentation preset then takes its windows from images reduced to 1.3 times the sample's size, kept yet or not.
        shard: (k, n): only positions k, k + n, k + 2n, … of the global order; see `shard`.
        pipeline: who makes the batches of `batches` and `to_keras`: "python", threads with libjpeg-turbo and OpenCV, or "tf", the
            dataset of `to_tf`. The same rows, labels and skips, and pixels within 1/255; see `imgstream check --parity`.

    Raises SpecError or AugmentError for impossible arguments.
    """

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
    ) -> None:
        if not isinstance(index, ImageIndex):
            raise SpecError(f"Stream reads an index: Stream(imgstream.scan({index!r}), …)")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise SpecError(f"batch_size must be a whole number, 1 or more; got {batch_size!r}")
        if on_bad not in get_args(OnBad):
            raise SpecError(f'on_bad must be "skip" or "raise"; got {on_bad!r}')
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise SpecError(f"workers must be None or a whole number of threads, 1 or more; got {workers!r}")
        if not 0 <= shard[0] < shard[1]:
            raise SpecError(f"shard must be (k, n) with 0 <= k < n; got {shard!r}")
        if pipeline not in get_args(Pipeline):
            raise SpecError(f'pipeline must be "python" or "tf"; got {pipeline!r}')
        self.index, self.spec = index, spec if spec is not None else SampleSpec()
        self.augmentation = resolve(augment)
        self.batch_size, self.shuffle, self.seed = int(batch_size), bool(shuffle), int(seed)
        self.on_bad, self.workers, self.pipeline = on_bad, workers, pipeline
        self.cache = PixelCache() if cache == "auto" else cache if cache is None or isinstance(cache, PixelCache) else PixelCache(cache)
        self._shard = shard
        self._skipped: dict[bytes, str] = {}
        self._engine: Engine | None = None
        self.decoded_by_tensorflow = 0
        """Images that TensorFlow's own decoder has made so far for `to_tf`; the reference decoder made the others."""

    def __len__(self) -> int:
        """Batches in an epoch: ceil(samples / batch_size), before bad files are left out."""
        return -(-self.sample_count // self.batch_size)

    def __repr__(self) -> str:
        name = self.augmentation.name if self.augmentation is not None else None
        return f"Stream({self.sample_count} samples in {len(self)} batches of {self.batch_size}, {self.spec}, augment={name!r})"

    @property
    def sample_count(self) -> int:
        """Rows in an epoch, good and bad."""
        k, n = self._shard
        return max(0, -(-(len(self.index) - k) // n))

    @property
    def work(self) -> Work:
        """What is made of a row."""
        return Work(spec=self.spec, augmentation=self.augmentation, seed=self.seed, cache=self.cache, facts=self.index.facts)

    @property
    def thread_count(self) -> int:
        """Threads that decode: `workers`, or one for each CPU core of this process."""
        return self.workers or cpu_count()

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(path, reason) of every bad file met so far, each once, in the order they were met; path as index.path gives it."""
        return [(os.fsdecode(path), reason) for path, reason in list(self._skipped.items())]

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """The epoch's batches from number `start` on: (images, labels), float32 (B, H, W, C) and int32 (B,).

        An index with sample weights, as a manifest may give, makes it (images, labels, weights), weights float32 (B,): what Keras takes.
        Labels are float32 (B, K) when the augmentation mixes them. B is smaller than batch_size where files were bad; a batch with
        none left is left out. What is yielded is yours to keep; the tf pipeline's arrays are TensorFlow's memory, not to be written to.
        """
        for batch in self.traced_batches(epoch, start):
            if len(batch.images):
                yield self.elements(batch)

    def traced_batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """As `batches`, each with the index positions of its samples and what was wrong with its bad files; empty batches too."""
        if epoch < 0 or start < 0:
            raise SpecError(f"epoch and start must be 0 or more; got epoch={epoch}, start={start}")
        if self.pipeline == "tf":
            from imgstream.stream.tfdata import TfPipeline

            yield from TfPipeline(self).traced_batches(epoch, start)
            return
        if self._engine is None or self._engine.process != os.getpid():
            self._engine = Engine(
                self.work,
                self.index.path_bytes,
                class_count=len(self.index.class_names),
                raise_bad=self.on_bad == "raise",
                batch_size=self.batch_size,
                workers=self.thread_count,
                samples=self.sample_count,
            )
        for batch in self._engine.run(self._requests(epoch, start)):
            for position, error in batch.bad:
                self.note_bad(self.index.path_bytes(position), error)
            yield batch

    def elements(self, batch: Batch) -> tuple[np.ndarray, ...]:
        """(images, labels), or (images, labels, weights), of a batch of this stream's."""
        weights = self.index.weights_at(batch.positions)
        return (batch.images, batch.labels) if weights is None else (batch.images, batch.labels, weights)

    def note_bad(self, path: bytes, error: BadImage) -> None:
        """Write a bad file down in `skipped`."""
        self._skipped.setdefault(path, error.reason)

    def to_tf(self, epoch: int | None = None, start: int = 0, *, initial_epoch: int = 0) -> tf.data.Dataset:
        """The batches as a tf.data.Dataset: elements as in `batches`, decoded and resized by TensorFlow's ops and threads.

        Each pass is the next epoch, from `initial_epoch` on; with `epoch`, every pass is that epoch, from batch `start` on. The order is
        this stream's: do not shuffle it again. Its cardinality is the number of batches before bad files are left out: a wholly bad
        batch is missing, and the pass shorter, which makes Keras' fit remark that data ran out.

        An iterator that tf.train.Checkpoint saved goes on where it was. When it repeats, the passes that follow count from the epoch it
        was restored in, or, if that was over, from `initial_epoch`.

        JPEGs are decoded by TensorFlow, other kinds by Python within the dataset, and so is an augmentation that is no preset: that costs
        what it costs in Python, on as many threads, one at a time wherever it holds the interpreter. Pixels differ from those of `batches`
        by 1/255 at most without augmentation, by 3/255 with a preset (scale "unit"). An error, as of on_bad="raise" or a broken
        augmentation, ends the pass with a tf.errors.OpError that names it. Raises SpecError for impossible arguments.
        """
        from imgstream.stream.tfdata import TfPipeline

        if min(initial_epoch, 0 if epoch is None else epoch) < 0 or not 0 <= start <= len(self):
            given = f"epoch={epoch}, start={start}, initial_epoch={initial_epoch}"
            raise SpecError(f"epochs must be 0 or more, and start from 0 to {len(self)}; got {given}")
        if start and epoch is None:
            raise SpecError("start is a place in one epoch: give epoch= with it")
        return TfPipeline(self, initial_epoch).dataset(epoch, start)

    def to_keras(self) -> KerasStream:
        """The batches as a keras.utils.PyDataset, for fit, evaluate and predict; each pass is the next epoch."""
        from imgstream.stream.keras import KerasStream

        return KerasStream(self)

    def replace(self, **changes: Any) -> Stream:
        """A new stream with some arguments changed and an empty list of skipped files: stream.replace(augment=None)."""
        arguments: dict[str, Any] = {
            "index": self.index,
            "spec": self.spec,
            "augment": self.augmentation,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "on_bad": self.on_bad,
            "workers": self.workers,
            "cache": self.cache,
            "shard": self._shard,
            "pipeline": self.pipeline,
        }
        unknown = set(changes) - set(arguments)
        if unknown:
            raise SpecError(f"Stream has no argument {', '.join(sorted(unknown))}; it has {', '.join(arguments)}")
        return Stream(**(arguments | changes))

    def shard(self, k: int, n: int) -> Stream:
        """Part k of n: positions k, k + n, k + 2n, … of this stream's order, in batches. The n parts are disjoint and complete."""
        if self._shard != (0, 1):
            raise SpecError(f"this stream is shard {self._shard[0]} of {self._shard[1]} already; shard the whole one")
        return self.replace(shard=(k, n))

    def ordered(self, epoch: int, first: int, last: int) -> np.ndarray:
        """int64 (m,): positions in the index at places `first` to `last`, or to the end, of the epoch's order; what pipelines read."""
        k, n = self._shard
        places = k + n * np.arange(first, min(last, self.sample_count), dtype=np.int64)
        return permute(places, len(self.index), self.seed, epoch) if self.shuffle else places

    def _requests(self, epoch: int, start: int) -> Iterator[Request]:
        size = self.batch_size
        block_batches = max(1, ORDER_BLOCK // size)
        for first in range(start, len(self), block_batches):
            ordered = self.ordered(epoch, first * size, (first + block_batches) * size)
            for offset in range(0, len(ordered), size):
                positions = ordered[offset : offset + size]
                number = first + offset // size
                yield Request(number, epoch, positions, self.index.rows_at(positions).astype(np.int64), self.index.labels_at(positions))


def cpu_count() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
