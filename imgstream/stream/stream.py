"""Stream: reads an index as batches, in an order that depends only on (seed, epoch)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from imgstream.display import shown, table
from imgstream.errors import SpecError
from imgstream.stream.batch import Batch
from imgstream.stream.plan import BatchPlan
from imgstream.stream.workers.batch_loader import BatchLoader

if TYPE_CHECKING:
    import tensorflow as tf
    from matplotlib.figure import Figure

    from imgstream.stream.keras_dataset import KerasStream


class Stream(BatchPlan):
    """Batches of images and labels from an index, in constant memory.

    ```python
    stream = Stream(train, SampleSpec(size=(224, 224)), augment="standard", batch_size=64, shuffle=True, seed=7)
    for images, labels in stream.batches(epoch=0):
        ...  # float32 (B, 224, 224, 3), int32 (B,)
    ```

    Args:
        index: The images to read; see imgstream.scan.
        spec: Size, fit, channels and scale of a sample; None for SampleSpec().
        augment: None, "light", "standard", "strong", a policy file, "layers.keras", "file.py:function", an albumentations transform, a
            Keras layer, a transform of torchvision or kornia, a list of one of these, or a callable (image uint8 (H, W, C), rng numpy
            Generator) -> image of the same shape and dtype.
        batch_size: Samples in a batch. About four batches are in memory at a time.
        shuffle: True reads all rows in a new random order each epoch; False reads them in the index's order.
        seed: Seed of the order and of every sample's augmentation; any whole number.
        on_bad: "skip" leaves bad files out and lists them in `skipped`; "raise" raises BadImage at the first one.
        workers: Number of threads; None for one for each CPU core of this process. Batches are the same to the bit for any number. On
            Linux, more threads than one interpreter lock can serve (about eight) are spread over worker processes.
        cache: A folder, a PixelCache, or "auto" for the user's cache folder: decoded images are kept there at reduced size, so that each
            is decoded once. With a cache, an augmentation preset takes its windows from images reduced to 1.3 times the sample's size.
        shard: (k, n): read only positions k, k + n, k + 2n, … of the global order; see `shard`.
        pipeline: What makes the batches of `batches` and `to_keras`: "python", threads with libjpeg-turbo and OpenCV, or "tf", the
            dataset of `to_tf`. Both give the same rows, labels and skips, and pixels within 1/255; see `imgstream check --parity`.
        dtype: "float32", samples in the spec's scale; or "uint8", RGB or grey pixels before scaling, a quarter of the bytes: for models and
            loops that scale on their device. Mixed samples are then rounded to whole values.

    Raises:
        SpecError: An argument is impossible.
        AugmentError: The augmentation cannot be loaded or used.
    """

    _loader: BatchLoader | None = None

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """The batches of an epoch, as NumPy arrays.

        Each batch is (images, labels): (B, H, W, C) of the stream's dtype and int32 (B,), -1 = no label. Where the index has sample
        weights, it is (images, labels, weights), with weights float32 (B,). Labels are float32 (B, K) when the augmentation mixes them,
        and where an image may have several: 1 for each of its classes and 0 for the others, or -1 throughout for an image without a label.
        B is smaller than batch_size where files were bad; a batch with no good file is left out.

        The arrays are yours to keep. Those of the tf pipeline are TensorFlow's memory: do not write to them.

        Args:
            epoch: Number of the epoch, from 0; it selects the order and the augmentation.
            start: Number of the first batch to give.

        Yields:
            One batch after another, from number `start` on.

        Raises:
            BadImage: A file is bad and on_bad is "raise".
            AugmentError: The augmentation failed on an image.
        """
        for batch in self.traced_batches(epoch, start):
            if len(batch.images):
                yield self.elements(batch)

    def traced_batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """As `batches`, but each as a Batch with the index positions of its samples and the errors of its bad files; empty batches too."""
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
        """The batches as a tf.data.Dataset, decoded and resized by TensorFlow's ops and threads.

        Each pass is the next epoch, from `initial_epoch` on. The order is this stream's: do not shuffle the dataset again. Its cardinality
        is the number of batches before bad files are left out; where all files of a batch are bad the pass is one batch shorter, and Keras'
        fit may warn that data ran out.

        An iterator that tf.train.Checkpoint saved goes on where it was. If it repeats, later passes count from the epoch it was restored in
        or, if that epoch was over, from `initial_epoch`.

        TensorFlow decodes JPEG files. Other kinds, and augmentations other than presets, run as Python inside the dataset, on as many
        threads but limited by the interpreter lock. Pixels differ from those of `batches` by at most 1/255 without augmentation and 3/255
        with a preset (scale "unit").

        Args:
            epoch: None, or the one epoch that every pass reads.
            start: With `epoch`: number of the first batch.
            initial_epoch: The epoch of the first pass when `epoch` is None.

        Returns:
            A dataset with the elements of `batches`.

        Raises:
            SpecError: An argument is impossible.
            tf.errors.OpError: While iterating: a bad file with on_bad="raise", or an augmentation that failed; the message names it.
        """
        from imgstream.stream.tf.dataset import TfPipeline

        if min(initial_epoch, 0 if epoch is None else epoch) < 0 or not 0 <= start <= len(self):
            given = f"epoch={epoch}, start={start}, initial_epoch={initial_epoch}"
            raise SpecError(f"epochs must be 0 or more, and start from 0 to {len(self)}; got {given}")
        if start and epoch is None:
            raise SpecError("start is a place in one epoch: give epoch= with it")
        return TfPipeline(self, initial_epoch).dataset(epoch, start)

    def to_keras(self) -> KerasStream:
        """The batches as a keras.utils.PyDataset for Keras' fit, evaluate and predict; each pass is the next epoch."""
        from imgstream.stream.keras_dataset import KerasStream

        return KerasStream(self, self.traced_batches)

    def replace(self, **changes: Any) -> Stream:
        """A new stream with some arguments changed and an empty list of skipped files.

        ```python
        validation = stream.replace(augment=None, shuffle=False)
        ```

        Args:
            **changes: Arguments of Stream, with their new values.

        Raises:
            SpecError: A name is no argument of Stream, or a value is impossible.
        """
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
            "dtype": str(self.dtype),
        }
        unknown = set(changes) - set(arguments)
        if unknown:
            raise SpecError(f"Stream has no argument {', '.join(sorted(unknown))}; it has {', '.join(arguments)}")
        return Stream(**(arguments | changes))

    def show(self, n: int = 12, *, epoch: int = 0) -> Figure:
        """The first samples of an epoch as a model gets them, augmented, as a Matplotlib figure that notebooks show.

        Args:
            n: Number of samples.
            epoch: Number of the epoch.

        Raises:
            NoImagesError: No image can be read.
        """
        return shown(self, "stream", n=n, epoch=epoch)

    def _repr_html_(self) -> str:
        height, width = self.spec.size
        facts = [
            ("samples", f"{self.sample_count:,} of {height} × {width}, {'in a new order each epoch' if self.shuffle else 'in order'}"),
            ("batches", f"{len(self):,} of {self.batch_size}"),
            ("scale", self.spec.scale),
            ("augmentation", "none" if self.augmentation is None else self.augmentation.name),
            ("pipeline", self.pipeline),
            ("skipped so far", f"{len(self.skipped):,}"),
        ]
        return table(f"Stream of {self.index.root}", facts)

    def shard(self, k: int, n: int) -> Stream:
        """Part k of n of this stream: positions k, k + n, k + 2n, … of its order, in batches. The n parts are disjoint and complete.

        Args:
            k: Number of the part, from 0 to n - 1.
            n: Number of parts.

        Raises:
            SpecError: This stream is a shard already, or k is not below n.
        """
        if self._shard != (0, 1):
            raise SpecError(f"this stream is shard {self._shard[0]} of {self._shard[1]} already; shard the whole one")
        return self.replace(shard=(k, n))
