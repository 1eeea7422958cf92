"""Stream: an index and a spec become float32 batches, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imgstream.cache import PixelCache
from imgstream.errors import SpecError
from imgstream.index import ImageIndex
from imgstream.spec import SampleSpec
from imgstream.stream.batch import Batch
from imgstream.stream.plan import BatchPlan, OnBad, Pipeline
from imgstream.stream.workers.batch_loader import BatchLoader

if TYPE_CHECKING:
    import tensorflow as tf

    from imgstream.stream.keras_dataset import KerasStream


class Stream(BatchPlan):
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
        super().__init__(
            index,
            spec,
            augment=augment,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            on_bad=on_bad,
            workers=workers,
            cache=cache,
            shard=shard,
            pipeline=pipeline,
        )
        self._loader: BatchLoader | None = None

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
            from imgstream.stream.tf.dataset import TfPipeline

            yield from TfPipeline(self).traced_batches(epoch, start)
            return
        if self._loader is None or self._loader.process != os.getpid():
            self._loader = BatchLoader(
                self.sample_job,
                self.index.path_bytes,
                class_count=len(self.index.class_names),
                raise_bad=self.on_bad == "raise",
                batch_size=self.batch_size,
                workers=self.thread_count,
                samples=self.sample_count,
            )
        for batch in self._loader.run(self.requests(epoch, start)):
            for position, error in batch.bad:
                self.note_bad(self.index.path_bytes(position), error)
            yield batch

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
        from imgstream.stream.tf.dataset import TfPipeline

        if min(initial_epoch, 0 if epoch is None else epoch) < 0 or not 0 <= start <= len(self):
            given = f"epoch={epoch}, start={start}, initial_epoch={initial_epoch}"
            raise SpecError(f"epochs must be 0 or more, and start from 0 to {len(self)}; got {given}")
        if start and epoch is None:
            raise SpecError("start is a place in one epoch: give epoch= with it")
        return TfPipeline(self, initial_epoch).dataset(epoch, start)

    def to_keras(self) -> KerasStream:
        """The batches as a keras.utils.PyDataset, for fit, evaluate and predict; each pass is the next epoch."""
        from imgstream.stream.keras_dataset import KerasStream

        return KerasStream(self, self.traced_batches)

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
