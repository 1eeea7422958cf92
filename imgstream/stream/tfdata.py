"""The same batches as a tf.data pipeline: JPEGs are decoded, and everything resized, augmented and scaled, in TensorFlow's own threads.

    epoch → batch numbers → rows and plans → pixels → good rows → augmented, scaled → (images, labels)
            (no buffer)     (Python: order,  (TF ops;  (bad ones    (TF ops)
                            headers, draws)  the rest   written down)
                                             by Python)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from imgstream.augment import Policy, Preset
from imgstream.augment.graph import PresetPlans, apply_preset, mix_batch, plan_preset
from imgstream.decode import graph
from imgstream.decode.sample import SampleReader
from imgstream.errors import BadImage, ImgstreamError
from imgstream.order import SampleDraws, sample_generator
from imgstream.stream.engine import Batch
from imgstream.stream.row_plans import BAD, GEOMETRY, JPEG, REFERENCE, RowPlanner, bad_image, fault

if TYPE_CHECKING:
    from imgstream.stream.stream import Stream

Tensor = Any
_in_graph = tf.autograph.experimental.do_not_convert  # nothing here is Python that autograph would have to rewrite
_IN_FLIGHT = 2  # batches being decoded at once: the second keeps the threads busy while the first one ends


class Rows(NamedTuple):
    """A batch before it is decoded, as tensors; see row_plans.RowPlans."""

    number: Tensor  # int64, of the batch in its epoch
    epoch: Tensor  # int64
    positions: Tensor  # int64 (B,), in the index
    rows: Tensor  # int64 (B,), in the table
    labels: Tensor  # int32 (B,)
    paths: Tensor  # string (B,)
    geometry: Tensor  # int32 (B, len(GEOMETRY))
    faults: Tensor  # string (B,)
    draws: Tensor  # float64 (B, DRAWS)


class TfPipeline:
    """Datasets of a stream's batches."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._spec, self._augmentation = stream.spec, stream.augmentation
        self._next_epoch = 0
        self._lock = threading.Lock()
        self._local = threading.local()
        self._failure: BaseException | None = None

    def dataset(self, epoch: int | None = None, start: int = 0) -> tf.data.Dataset:
        """(images, labels), as Stream.to_tf says."""
        mixes = isinstance(self._augmentation, Preset) and bool(self._augmentation.mix)
        class_count = len(self._stream.index.class_names)
        label_spec = tf.TensorSpec((None, class_count), tf.float32) if mixes else tf.TensorSpec((None,), tf.int32)
        empty = (tf.zeros((0, *self._spec.shape)), tf.zeros([0 if n is None else n for n in label_spec.shape], label_spec.dtype))
        batches = self._traced(epoch, start)
        full = batches.filter(lambda batch: tf.shape(batch["images"])[0] > 0).map(lambda batch: (batch["images"], batch["labels"]))
        # The length is known, though a wholly bad batch is left out: take(n) of an endless dataset has n elements. This one is called
        # endless because an endless one is among its choices; it is never chosen, and the choice ends with the first.
        never = tf.data.Dataset.from_tensors(empty).repeat()
        always_first = tf.data.Dataset.from_tensors(tf.constant(0, tf.int64)).repeat()
        counted = tf.data.Dataset.choose_from_datasets([full, never], always_first, stop_on_empty_dataset=True)
        return counted.take(len(self._stream) - start).prefetch(1)

    def traced_batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """As Stream.traced_batches, and raising the same errors."""
        dataset = self._traced(epoch, start).prefetch(1)
        index = self._stream.index
        try:
            for element in dataset:
                bad = [
                    (position, bad_image(text, index.path_bytes(position)))
                    for position, text in zip(element["bad"].numpy().tolist(), element["faults"].numpy().tolist(), strict=True)
                ]
                yield Batch(
                    int(element["number"]), element["images"].numpy(), element["labels"].numpy(), element["positions"].numpy(), bad
                )
        except tf.errors.OpError:
            failure, self._failure = self._failure, None
            if failure is not None:  # what Python raised says more than what TensorFlow made of it
                raise failure from None
            raise

    def _traced(self, epoch: int | None, start: int) -> tf.data.Dataset:
        count = len(self._stream)
        epochs = tf.data.Dataset.from_tensors(np.int64(0))
        if epoch is None:
            epochs = epochs.map(lambda zero: self._call(self._begin_epoch, [zero], [tf.TensorSpec((), tf.int64)])[0])
        else:
            epochs = epochs.map(lambda _: tf.constant(epoch, tf.int64))
        numbers = epochs.flat_map(lambda e: tf.data.Dataset.range(start, count).map(lambda number: (e, number)))
        rows = numbers.map(self._rows).prefetch(1)
        decoded = rows.interleave(
            self._decoded,
            cycle_length=_IN_FLIGHT,
            block_length=1,
            num_parallel_calls=_IN_FLIGHT,
            deterministic=True,
        )
        batches = decoded.map(self._sorted_out).map(self._finished, num_parallel_calls=_IN_FLIGHT, deterministic=True)
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False  # nothing here is left to tune, and its buffers are what grows elsewhere
        options.threading.max_intra_op_parallelism = 1  # the threads are the parallelism
        if self._stream.workers is not None:
            options.threading.private_threadpool_size = self._stream.workers
        return batches.with_options(options)

    # ---- rows and plans

    def _begin_epoch(self, _: np.int64) -> np.int64:
        with self._lock:
            self._next_epoch += 1
            return np.int64(self._next_epoch - 1)

    @_in_graph
    def _rows(self, epoch: Tensor, number: Tensor) -> Rows:
        count = None
        signature = [
            tf.TensorSpec((count,), tf.int64),
            tf.TensorSpec((count,), tf.int64),
            tf.TensorSpec((count,), tf.int32),
            tf.TensorSpec((count,), tf.string),
            tf.TensorSpec((count, len(GEOMETRY)), tf.int32),
            tf.TensorSpec((count,), tf.string),
            tf.TensorSpec((count, None), tf.float64),
        ]
        return Rows(number, epoch, *self._call(self._plan, [epoch, number], signature))

    def _plan(self, epoch: np.int64, number: np.int64) -> tuple[np.ndarray, ...]:
        with self._lock:  # a restored iterator goes on in an epoch that this object has not begun
            self._next_epoch = max(self._next_epoch, int(epoch) + 1)
        request = next(self._stream.requests(int(epoch), int(number)))
        if not hasattr(self._local, "planner"):
            self._local.planner = RowPlanner(self._spec, self._augmentation, self._stream.seed)
        paths = [self._stream.index.path_bytes(int(position)) for position in request.positions]
        return request.positions, request.rows, request.labels, *self._local.planner(paths, int(epoch), request.rows)

    # ---- pixels

    @_in_graph
    def _decoded(self, rows: Rows) -> tf.data.Dataset:
        """One element: the rows, their pixels uint8 (B, H, W, C), and their faults.

        All at once first. Where TensorFlow refuses a file, row by row: what it refuses again goes to the reference decoder, which says
        why, or reads it after all. No error is lost: whatever fails there fails the dataset.
        """
        together = tf.data.Dataset.from_tensors(rows)
        attempt = together.map(self._decode_together).ignore_errors(log_warning=False)
        careful = together.flat_map(self._decode_carefully)
        return attempt.concatenate(careful).take(1)

    @_in_graph
    def _decode_together(self, rows: Rows) -> tuple[Rows, Tensor]:
        pixels, faults = tf.map_fn(
            lambda row: self._decode_row(*row),
            (rows.paths, rows.geometry, rows.faults, rows.epoch + tf.zeros_like(rows.rows), rows.rows),
            fn_output_signature=(tf.TensorSpec(self._spec.shape, tf.uint8), tf.TensorSpec((), tf.string)),
            parallel_iterations=self._stream.thread_count,
        )
        return rows._replace(faults=faults), pixels

    def _decode_row(self, path: Tensor, geometry: Tensor, known_fault: Tensor, epoch: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (H, W, C) and the fault, empty when there is none."""
        g = dict(zip(GEOMETRY, tf.unstack(geometry), strict=True))
        signature = [tf.TensorSpec(self._spec.shape, tf.uint8), tf.TensorSpec((), tf.string)]
        roads = {
            JPEG: lambda: (self._decode_jpeg(path, g), tf.constant(b"")),
            REFERENCE: lambda: self._call(self._read, [path, epoch, row], signature),
            BAD: lambda: (tf.zeros(self._spec.shape, tf.uint8), known_fault),
        }
        pixels, found = tf.switch_case(g["road"], roads)
        return pixels, found

    def _decode_jpeg(self, path: Tensor, g: dict[str, Tensor]) -> Tensor:
        """uint8 (H, W, C), the whole sample, by TensorFlow alone."""
        data = tf.io.read_file(path)

        def at(ratio: int) -> Any:
            return lambda: graph.decode_jpeg(data, ratio, self._spec.channels, g["height"], g["width"])

        pixels = tf.switch_case(g["reduction"], {r: at(1 << r) for r in range(4)})
        window = (g["y"], g["x"], g["window_height"], g["window_width"])
        pixels = graph.turn(graph.crop_and_resize(pixels, *window, g["out_height"], g["out_width"]), g["turn"])
        if self._spec.fit == "pad":
            height, width = self._spec.size
            pixels = tf.image.pad_to_bounding_box(pixels, g["pad_top"], g["pad_left"], height, width)
        return tf.ensure_shape(pixels, self._spec.shape)

    @_in_graph
    def _decode_carefully(self, rows: Rows) -> tf.data.Dataset:
        slots = tf.range(tf.shape(rows.paths)[0], dtype=tf.int64)
        taken = tf.data.Dataset.from_tensor_slices((slots, rows.paths, rows.geometry))
        taken = taken.filter(lambda slot, path, geometry: geometry[0] == JPEG)
        taken = taken.map(lambda slot, path, geometry: (slot, self._decode_jpeg(path, dict(zip(GEOMETRY, tf.unstack(geometry), strict=True)))))
        nothing = tf.data.Dataset.from_tensors((tf.constant(-1, tf.int64), tf.zeros(self._spec.shape, tf.uint8)))  # so that there is a batch
        whole = taken.ignore_errors(log_warning=False).concatenate(nothing).batch(tf.size(slots, tf.int64) + 1)
        signature = [tf.TensorSpec((None,), tf.string), tf.TensorSpec((None, *self._spec.shape), tf.uint8)]

        def mended(done: Tensor, pixels: Tensor) -> tuple[Rows, Tensor]:
            inputs = [done, pixels, rows.paths, rows.geometry, rows.faults, rows.epoch, rows.rows]
            faults, all_pixels = self._call(self._mend, inputs, signature)
            return rows._replace(faults=faults), all_pixels

        return whole.map(mended)

    def _mend(
        self,
        done: np.ndarray,
        pixels: np.ndarray,
        paths: np.ndarray,
        geometry: np.ndarray,
        faults: np.ndarray,
        epoch: np.int64,
        rows: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """All samples of a batch: those that are `done`, and the others by the reference decoder."""
        out, found = np.zeros((len(paths), *self._spec.shape), np.uint8), faults.copy()
        out[done[:-1]] = pixels[:-1]
        for slot in set(range(len(paths))) - set(done.tolist()):
            if geometry[slot, 0] != BAD:
                out[slot], found[slot] = self._read(paths[slot], epoch, rows[slot])
        return found, out

    def _read(self, path: bytes, epoch: np.int64, row: np.int64) -> tuple[np.ndarray, bytes]:
        """uint8 (H, W, C) by the reference decoder, cropped, resized and flipped; and the fault."""
        local, preset = self._local, self._augmentation if isinstance(self._augmentation, Preset) else None
        if not hasattr(local, "reader"):
            local.reader, local.draws = SampleReader(self._spec), SampleDraws(self._stream.seed)
        pixels = np.zeros(self._spec.shape, np.uint8)
        try:
            if preset is None:
                local.reader.read(path, pixels)
                return pixels, b""
            numbers = local.draws(int(epoch), int(row))
            local.reader.read(path, pixels, lambda *sizes: preset.box(numbers, *sizes))
            return np.ascontiguousarray(pixels[:, ::-1]) if preset.flips(numbers) else pixels, b""
        except BadImage as error:
            return np.zeros(self._spec.shape, np.uint8), fault(error)

    # ---- good rows, augmented and scaled

    @_in_graph
    def _sorted_out(self, rows: Rows, pixels: Tensor) -> tuple[Rows, Tensor, Tensor, Tensor]:
        """The good rows, their pixels, and the positions and faults of the bad ones, which are written down."""
        good = rows.faults == b""

        def chosen() -> tuple[Tensor, ...]:
            bad = tf.boolean_mask(rows.positions, ~good)
            signature = [tf.TensorSpec((None,), tf.string)]
            (faults,) = self._call(self._write_down, [bad, tf.boolean_mask(rows.faults, ~good)], signature)
            return *(tf.boolean_mask(column, good) for column in columns), bad, faults

        def everything() -> tuple[Tensor, ...]:
            return *columns, tf.zeros((0,), tf.int64), tf.zeros((0,), tf.string)

        columns = (rows.positions, rows.rows, rows.labels, rows.paths, rows.draws, pixels)
        positions, row_numbers, labels, paths, draws, pixels, bad, faults = tf.cond(tf.reduce_all(good), everything, chosen)
        rows = rows._replace(positions=positions, rows=row_numbers, labels=labels, paths=paths, draws=draws)
        return rows, tf.ensure_shape(pixels, (None, *self._spec.shape)), bad, faults

    def _write_down(self, positions: np.ndarray, faults: np.ndarray) -> np.ndarray:
        for position, text in zip(positions.tolist(), faults.tolist(), strict=True):
            path = self._stream.index.path_bytes(position)
            error = bad_image(text, path)
            if self._stream.on_bad == "raise":
                raise error
            self._stream.note_bad(path, error)
        return faults

    @_in_graph
    def _finished(self, rows: Rows, pixels: Tensor, bad: Tensor, faults: Tensor) -> dict[str, Tensor]:
        augmentation, labels = self._augmentation, rows.labels
        if isinstance(augmentation, Policy):
            pixels = tf.map_fn(
                lambda sample: self._call(self._transform, list(sample), [tf.TensorSpec(self._spec.shape, tf.uint8)])[0],
                (pixels, rows.paths, rows.epoch + tf.zeros_like(rows.rows), rows.rows),
                fn_output_signature=tf.TensorSpec(self._spec.shape, tf.uint8),
                parallel_iterations=self._stream.thread_count,
            )
        gain, bias = self._spec.affine()
        if isinstance(augmentation, Preset):
            signature = list(PresetPlans.signature(self._spec.channels))
            plans = PresetPlans(*self._call(lambda draws: plan_preset(augmentation, draws, self._spec.shape), [rows.draws], signature))
            pixels = apply_preset(augmentation, pixels, plans)
        images = tf.cast(pixels, tf.float32) * gain
        if bias.any():
            images += bias
        if isinstance(augmentation, Preset) and augmentation.mix:
            images, labels = mix_batch(images, labels, plans, len(self._stream.index.class_names))
        return {
            "number": rows.number,
            "images": images,
            "labels": labels,
            "positions": rows.positions,
            "bad": bad,
            "faults": faults,
        }

    def _transform(self, image: np.ndarray, path: bytes, epoch: np.int64, row: np.int64) -> np.ndarray:
        assert isinstance(self._augmentation, Policy)
        try:
            return self._augmentation.apply(image, sample_generator(self._stream.seed, int(epoch), int(row)))
        except ImgstreamError as error:
            raise type(error)(f"{error} (at {os.fsdecode(path)!r})") from error

    def _call(self, function: Any, inputs: list[Tensor], signature: list[tf.TensorSpec]) -> tuple[Tensor, ...]:
        """Python inside the dataset. Stateless to TensorFlow, whose iterators can then be saved."""

        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                self._failure = error
                raise

        outputs = tf.numpy_function(guarded, inputs, [part.dtype for part in signature], stateful=False)
        return tuple(tf.ensure_shape(output, part.shape) for output, part in zip(outputs, signature, strict=True))
