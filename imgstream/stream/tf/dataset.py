"""The batches of a stream as a tf.data.Dataset.

places → chunks      in Python, one call a chunk: order, headers, random numbers, windows (row_plans.py). No shuffle buffer.
chunks → samples     in TensorFlow, uint8; files that it cannot decode are read by the reference decoder, and bad files are noted
samples → batches    in TensorFlow: bad rows dropped, preset applied, scaled to float32
"""

from __future__ import annotations

import collections
import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from imgstream.augment import Mix, OperationPreset, Policy, Preset
from imgstream.augment.tensorflow_ops import MixPlans, PresetPlans, apply_preset, mix_batch, mix_numbers, plan_mixes, plan_preset
from imgstream.decode import tensorflow_ops
from imgstream.decode.levels import EIGHT_BITS
from imgstream.errors import BadImage, ImgstreamError
from imgstream.order import SampleDraws, sample_generator
from imgstream.spec import SampleSpec
from imgstream.stalls import StallWatch
from imgstream.stream.batch import Batch
from imgstream.stream.plan import ORDER_BLOCK, BatchPlan
from imgstream.stream.tf.cardinality import has_rows, with_cardinality
from imgstream.stream.tf.row_plans import GEOMETRY, RowPlanner, bad_image, fault
from imgstream.stream.workers.objects_ahead import SAMPLES, ObjectsAhead

Tensor = Any
_UNKNOWN = -1  # stands for the next epoch

_CHUNK, _CHUNK_BYTES = 64, 2 << 20
"""The most rows, and bytes of samples, that a thread takes at a time. Each chunk is a small dataset, so that an error in it does not end
the whole. Making one takes as long as decoding a small image, so chunks are large, but small enough to keep every thread busy to the end.
"""

_in_graph = tf.autograph.experimental.do_not_convert  # nothing here is Python that autograph would have to rewrite


class Chunk(NamedTuple):
    """Some rows of an epoch's order, as tensors; the last seven fields are row_plans.RowPlans."""

    epoch: Tensor  # int64
    positions: Tensor  # int64 (n,), in the index
    labels: Tensor  # int32 (n,), or float32 (n, K) where an image may have several
    slots: Tensor
    paths: Tensor
    reductions: Tensor
    geometry: Tensor
    roundings: Tensor
    faults: Tensor
    draws: Tensor


_CHUNK_SIGNATURE = Chunk(
    tf.TensorSpec((), tf.int64),
    tf.TensorSpec((None,), tf.int64),
    tf.TensorSpec((None,), tf.int32),
    tf.TensorSpec((None,), tf.int32),
    tf.TensorSpec((None,), tf.string),
    tf.TensorSpec((None,), tf.int32),
    tf.TensorSpec((None, sum(GEOMETRY.values())), tf.int32),
    tf.TensorSpec((None,), tf.float32),
    tf.TensorSpec((None,), tf.string),
    tf.TensorSpec((None, None), tf.float64),
)


class _ThreadState:
    """The planner, reader and random generator of one thread, reused between calls."""

    def __init__(self, plan: BatchPlan) -> None:
        self.planner = RowPlanner(plan.spec, plan.augmentation, plan.seed, plan.index.facts)
        self.draws = SampleDraws(plan.seed)
        self.reader = plan.sample_job.reader()


class TfPipeline:
    """Makes datasets of a stream's batches."""

    def __init__(self, plan: BatchPlan, initial_epoch: int = 0) -> None:
        self._plan = plan
        self._spec, self._augmentation = plan.spec, plan.augmentation
        fair = plan.sample_count // (8 * plan.thread_count)
        self._chunk = max(1, min(_CHUNK, _CHUNK_BYTES // math.prod(plan.spec.shape), fair))
        self._next_epoch, self._first_place = initial_epoch, 0
        self._block: tuple[tuple[int, int], np.ndarray] = (-1, -1), np.zeros(0, np.int64)
        self._lock = threading.Lock()
        self._objects = ObjectsAhead(plan.sample_job.needs_file()) if plan.index.in_buckets else None
        self._expected = (_UNKNOWN, 0)  # the epoch, and the place in its order up to which objects are expected
        self._idle: collections.deque[_ThreadState] = collections.deque()
        self._stalls = StallWatch()  # TensorFlow does the waiting
        self._failure: BaseException | None = None

    def dataset(self, epoch: int | None = None, start: int = 0) -> tf.data.Dataset:
        """The dataset that Stream.to_tf describes."""
        full = self._batches(epoch, start, traced=False).filter(has_rows)
        return with_cardinality(full, len(self._plan) - start).prefetch(1)

    def traced_batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches that Stream.traced_batches describes, with the same errors."""
        index = self._plan.index
        try:
            for number, batch in enumerate(self._batches(epoch, start, traced=True).prefetch(1), start):
                images, labels, positions, faults = (np.asarray(part) for part in batch)  # numpy() would copy
                is_bad = np.array([bool(text) for text in faults])
                bad = [
                    (position, bad_image(text, index.path_bytes(position)))
                    for position, text in zip(positions[is_bad].tolist(), faults[is_bad], strict=True)
                ]
                yield Batch(number, images, labels, positions[~is_bad], bad)
        except tf.errors.OpError:
            failure, self._failure = self._failure, None
            if failure is not None:  # the Python error says more than TensorFlow's
                raise failure from None
            raise

    def _batches(self, epoch: int | None, start: int, traced: bool) -> tf.data.Dataset:
        plan = self._plan
        threads = plan.thread_count
        first = self._first_place = start * plan.batch_size
        places = tf.data.Dataset.range(first, max(first, plan.sample_count), self._chunk)
        chunks = places.scan(np.int64(_UNKNOWN if epoch is None else epoch), self._planned).prefetch(threads)
        decoded = chunks.interleave(self._decoded, cycle_length=threads, block_length=1, num_parallel_calls=threads, deterministic=True)
        completed = decoded.map(self._completed, num_parallel_calls=threads, deterministic=True)
        finished = completed.rebatch(plan.batch_size).map(
            lambda *rows: self._finished(*rows, traced=traced), num_parallel_calls=2, deterministic=True
        )
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False  # there is nothing to tune, and autotuned buffers would grow
        options.threading.max_intra_op_parallelism = 1  # the threads are the parallelism
        if plan.workers is not None:
            options.threading.private_threadpool_size = plan.workers
        return finished.with_options(options)

    # ---- chunks

    @_in_graph
    def _planned(self, epoch: Tensor, place: Tensor) -> tuple[Tensor, Chunk]:
        """The epoch, which each pass learns with its first chunk, and the chunk that begins at `place` of its order."""
        signature = _CHUNK_SIGNATURE
        if self._plan.index.is_multi_label:
            signature = signature._replace(labels=tf.TensorSpec((None, len(self._plan.index.class_names)), tf.float32))
        chunk = Chunk(*self._call(self._plan_rows, [epoch, place], list(signature)))
        return chunk.epoch, chunk

    def _plan_rows(self, epoch: np.int64, place: np.int64) -> Chunk:
        with self._lock:
            if epoch == _UNKNOWN:
                epoch = np.int64(self._next_epoch)
            self._next_epoch = max(self._next_epoch, int(epoch) + 1)  # a restored iterator may be ahead
        if place == self._first_place:
            self._plan.sample_job.begin_pass()
        positions = self._ordered(int(epoch), int(place))
        index = self._plan.index
        self._expect(int(epoch), int(place))
        with self._thread_state() as state:
            # With a cache, the reference reader reads all rows, because it uses the cache.
            for_tensorflow = positions if self._plan.cache is None else positions[:0]
            plans = state.planner([index.path_bytes(p) for p in for_tensorflow.tolist()], int(epoch), index.rows_at(positions).tolist())
        return Chunk(epoch, positions, index.targets_at(positions), *plans)

    def _expect(self, epoch: int, place: int) -> None:
        """Say which objects of a bucket come up to SAMPLES after the chunk at `place`. That does not wait for chunks to be planned ahead,
        for which TensorFlow may have no thread while the others wait for objects.
        """
        if self._objects is None:
            return
        of, until = self._expected
        goes_on = of == epoch and place <= until and place != self._first_place
        first = until if goes_on else place
        last = min(place + self._chunk + SAMPLES, self._plan.sample_count)
        for position in self._plan.ordered(epoch, first, last).tolist() if first < last else ():
            self._objects.expect(position, self._plan.index.path_bytes(position))
        self._expected = epoch, max(first, last)

    def _ordered(self, epoch: int, place: int) -> np.ndarray:
        """The chunk's positions in the index. One thread asks for chunks one after another, so a block of positions is kept."""
        first = place // ORDER_BLOCK * ORDER_BLOCK
        key, block = self._block
        if key != (epoch, first):
            block = self._plan.ordered(epoch, first, first + ORDER_BLOCK + self._chunk)
            self._block = (epoch, first), block
        return block[place - first : place - first + self._chunk]

    @contextlib.contextmanager
    def _thread_state(self) -> Iterator[_ThreadState]:
        """A thread's state that no other call is using. It is not thread-local: Python forgets TensorFlow's threads after each call."""
        try:
            state = self._idle.pop()
        except IndexError:
            state = _ThreadState(self._plan)
        try:
            with self._stalls.watching(state.planner.open_file):
                yield state
        finally:
            self._idle.append(state)

    # ---- pixels

    @_in_graph
    def _decoded(self, chunk: Chunk) -> tf.data.Dataset:
        """One element: the chunk, the slots that TensorFlow could decode, int32 (d,), and their samples, (d, H, W, C).

        Errors are ignored here: the reference decoder then reads the rows that are missing.
        """
        samples = tf.data.Dataset.from_tensor_slices((chunk.slots, chunk.paths, chunk.reductions, chunk.geometry, chunk.roundings))
        decoded = samples.map(self._decode_jpeg).ignore_errors(log_warning=False).batch(self._chunk)
        none = tf.data.Dataset.from_tensors((tf.zeros((0,), tf.int32), tf.zeros((0, *self._spec.shape), self._spec.pixel_type)))
        return tf.data.Dataset.zip((tf.data.Dataset.from_tensors(chunk), decoded.concatenate(none)))

    @_in_graph
    def _decode_jpeg(self, slot: Tensor, path: Tensor, reduction: Tensor, geometry: Tensor, rounding: Tensor) -> tuple[Tensor, Tensor]:
        """The slot and its whole sample, (H, W, C) of the spec's pixel_type, made by TensorFlow alone."""
        shape, start, size, out_size, axes, steps, padding = tf.split(geometry, list(GEOMETRY.values()))
        pixels = tensorflow_ops.decode_jpeg(tf.io.read_file(path), self._spec.channels, reduction, shape)
        pixels = tensorflow_ops.crop_and_resize(pixels, start, size, out_size, rounding)
        pixels = tensorflow_ops.turn(pixels, axes, steps)
        if self._spec.fit == "pad":
            pixels = tf.pad(pixels, tf.reshape(padding, (3, 2)))
        pixels.set_shape(self._spec.shape)
        if self._spec.levels is not None:
            pixels = tf.cast(int(EIGHT_BITS) * tf.cast(pixels, tf.int32), tf.uint16)
        return slot, pixels

    @_in_graph
    def _completed(self, chunk: Chunk, decoded: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Positions, labels, random numbers, faults and pixels of all the chunk's rows, augmented if the augmentation is a policy."""
        done, pixels = decoded
        samples = tf.TensorSpec((None, *self._spec.shape), self._spec.pixel_type)
        inputs = [chunk.epoch, chunk.positions, chunk.faults, done]
        signature = [tf.TensorSpec((None,), tf.int32), samples, tf.TensorSpec((None,), tf.string)]
        missing, others, faults = self._call(self._complete, inputs, signature)
        pixels = tf.dynamic_stitch([done, missing], [pixels, others])
        draws = chunk.draws
        if isinstance(self._augmentation, Policy):
            numbers = tf.TensorSpec((None, 4), tf.float64)
            pixels, draws = self._call(self._transform, [chunk.epoch, chunk.positions, faults, pixels], [samples, numbers])
        elif isinstance(self._augmentation, OperationPreset):
            (pixels,) = self._call(self._operate, [faults, draws, pixels], [samples])
        return chunk.positions, chunk.labels, draws, faults, pixels

    def _complete(
        self, epoch: np.int64, positions: np.ndarray, faults: np.ndarray, done: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The slots that are not `done`, their samples from the reference decoder, and all faults; bad files are noted.

        Any other error than a bad file is raised, and ends the dataset.
        """
        with self._lock:
            self._plan.decoded_by_tensorflow += len(done)
        if len(done) == len(positions):
            return done[:0], np.zeros((0, *self._spec.shape), self._spec.pixel_type), faults
        missing = np.setdiff1d(np.arange(len(positions), dtype=np.int32), done)
        samples, faults = np.zeros((len(missing), *self._spec.shape), self._spec.pixel_type), faults.copy()
        for sample, slot in zip(samples, missing.tolist(), strict=True):
            position = int(positions[slot])
            expected = self._objects.take(position) if self._objects is not None else None
            path = expected or self._plan.index.path_bytes(position)
            if not faults[slot]:
                faults[slot] = self._read(path, int(epoch), self._plan.index.row(position), sample)
            if faults[slot]:
                error = bad_image(faults[slot], path)
                if self._plan.on_bad == "raise":
                    raise error
                self._plan.note_bad(path, error)
        return missing, samples, faults

    def _read(self, path: bytes, epoch: int, row: int, out: np.ndarray) -> bytes:
        """Fill (H, W, C) `out` by the reference decoder, cropped, resized and flipped; return the fault, b"" if there is none."""
        preset = self._augmentation if isinstance(self._augmentation, Preset) else None
        with self._thread_state() as state:
            reader, numbers = state.reader, state.draws(epoch, row)
            state.planner.open_file.begin(path)
            try:
                reader.read(path, out, None if preset is None else lambda *sizes: preset.box(numbers, *sizes))
            except BadImage as error:
                return fault(error)
            if self._plan.index.facts is not None and reader.opened and reader.header is not None:
                self._plan.index.facts.note(row, reader.version, reader.header)
        if preset is not None and preset.flips(numbers):
            out[:] = out[:, ::-1].copy()
        return b""

    def _transform(self, epoch: np.int64, positions: np.ndarray, faults: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Apply the policy to each good sample of a chunk; also how each is to be mixed, as mix_numbers has it."""
        policy, index, out = self._augmentation, self._plan.index, np.zeros_like(pixels)
        mixes: list[Mix | None] = [None] * len(pixels)
        assert isinstance(policy, Policy)
        for slot in np.flatnonzero(faults == b"").tolist():
            position = int(positions[slot])
            generator = sample_generator(self._plan.seed, int(epoch), index.row(position))
            mixes[slot] = policy.mixing(generator)
            try:
                out[slot] = policy.apply(pixels[slot], generator)
            except ImgstreamError as error:
                raise type(error)(f"{error} (at {index.path(position)!r})") from error
        return out, mix_numbers(mixes)

    def _operate(self, faults: np.ndarray, draws: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray]:
        """Apply the preset's operations, which OpenCV has, to each good sample of a chunk."""
        preset, out, scratch = self._augmentation, pixels.copy(), np.empty(self._spec.shape, np.uint8)
        assert isinstance(preset, OperationPreset)
        for slot in np.flatnonzero(faults == b"").tolist():
            preset.operate(out[slot], draws[slot], scratch)
        return (out,)

    # ---- good rows, augmented and scaled

    @_in_graph
    def _finished(
        self, positions: Tensor, labels: Tensor, draws: Tensor, faults: Tensor, pixels: Tensor, traced: bool
    ) -> tuple[Tensor, ...]:
        """Images and labels of the good rows; with `traced`, also positions and faults of all rows."""
        augmentation, spec, dtype = self._augmentation, self._spec, self._plan.dtype
        deep = spec.levels is not None
        good = tf.squeeze(tf.where(faults == b""), 1)
        pixels, labels, draws = (tf.raw_ops.Gather(params=column, indices=good) for column in (pixels, labels, draws))
        pixels.set_shape((None, *spec.shape))
        if isinstance(augmentation, Preset) and not isinstance(augmentation, OperationPreset):
            signature = list(PresetPlans.signature(spec.channels))
            plans: PresetPlans | MixPlans
            plans = PresetPlans(*self._call(lambda numbers: plan_preset(augmentation, numbers, spec.shape, deep), [draws], signature))
            pixels = apply_preset(augmentation, pixels, plans)
        elif augmentation is not None and augmentation.mix:
            height, width, _ = spec.shape
            plans = MixPlans(*self._call(lambda numbers: plan_mixes(numbers, height, width), [draws], list(MixPlans.signature())))
        images = pixels if dtype != np.float32 else _scaled(pixels, spec)
        if augmentation is not None and augmentation.mix:
            images, labels = mix_batch(tf.cast(images, tf.float32), labels, plans, len(self._plan.index.class_names))
        if dtype != np.float32 and images.dtype == tf.float32:
            images = tf.cast(tf.round(images), spec.pixel_type)
        if dtype == np.uint8 and deep:
            images = tf.cast(tf.cast(images, tf.int32) // int(EIGHT_BITS - 1), tf.uint8)
        if traced:
            return images, labels, positions, faults
        if not self._plan.index.has_weights:
            return images, labels
        return images, labels, *self._call(self._weights, [tf.gather(positions, good)], [tf.TensorSpec((None,), tf.float32)])

    def _weights(self, positions: np.ndarray) -> tuple[np.ndarray]:
        weights = self._plan.index.weights_at(positions)
        assert weights is not None
        return (weights,)

    def _call(self, function: Any, inputs: list[Tensor], signature: list[tf.TensorSpec]) -> tuple[Tensor, ...]:
        """Call a Python function inside the dataset. TensorFlow takes it as stateless, so that iterators can be saved."""

        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                self._failure = error
                text = str(error).encode("utf-8", "backslashreplace").decode()  # TensorFlow refuses surrogates
                raise RuntimeError(f"{type(error).__name__}: {text}") from error

        outputs = tf.numpy_function(guarded, inputs, [part.dtype for part in signature], stateful=False)
        for output, part in zip(outputs, signature, strict=True):
            output.set_shape(part.shape)
        return tuple(outputs)


def _scaled(pixels: Tensor, spec: SampleSpec) -> Tensor:
    """RGB or grey pixels, uint8, uint16 or float32, as float32 by the spec's scale."""
    gain, bias = spec.scaling
    if pixels.dtype == tf.uint8 and isinstance(gain, np.float32):  # one pass over memory; the same values to the bit
        black, white = (float(limit[0]) for limit in spec.limits())
        return tf.raw_ops.Dequantize(input=tf.bitcast(pixels, tf.quint8), min_range=black, max_range=white, mode="MIN_COMBINED")
    images = tf.cast(pixels[..., ::-1] if spec.bgr else pixels, tf.float32) * gain
    return images if bias is None else images + bias
