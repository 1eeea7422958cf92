"""Plans rows for the tf.data pipeline before any pixel is decoded: what only Python knows, as one array for each field."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imgstream.augment import Augmentation, Preset
from imgstream.errors import BadImage
from imgstream.files.addresses import Address
from imgstream.files.reader import FileReader
from imgstream.files.spans import Span
from imgstream.formats.header import Header
from imgstream.formats.jpeg import is_regular
from imgstream.geometry import Plan, make_plan
from imgstream.index.table.file_facts import FileFacts
from imgstream.order import DRAWS, SampleDraws
from imgstream.spec import SampleSpec
from imgstream.stalls import OpenFile

GEOMETRY = {
    "shape": 3,  # height, width, channels as decoded
    "start": 3,  # y, x, 0 of the window
    "size": 3,  # height, width, channels of the window
    "out_size": 2,  # height, width of the resized window
    "axes": 3,  # the order of its axes, and
    "steps": 3,  # the direction of each, to be upright, and flipped where the augmentation flips
    "padding": 6,  # before and after, of rows, columns, channels
}
"""The parts of RowPlans.geometry, and how many numbers each has. All but the padding refers to the image as it is stored, before
orientation: turning a small image last costs less than turning a large one first.
"""


class RowPlans(NamedTuple):
    """How to make n rows: m of them by TensorFlow; the others are for the reference decoder, or known to be bad."""

    slots: np.ndarray
    """int32 (m,): which of the n rows TensorFlow decodes."""
    paths: np.ndarray
    """bytes (m,), absolute."""
    reductions: np.ndarray
    """int32 (m,): 0, 1, 2 or 3, to decode at 1, 1/2, 1/4 or 1/8 of the size."""
    geometry: np.ndarray
    """int32 (m, sum(GEOMETRY.values()))."""
    roundings: np.ndarray
    """float32 (m,): see decode.tensorflow_ops.crop_and_resize."""
    faults: np.ndarray
    """bytes (n,): "reason: detail" of files that are known to be bad, else empty."""
    draws: np.ndarray
    """float64 (n, DRAWS): the augmentation's random numbers; DRAWS is 0 without a preset."""


class RowPlanner:
    """Plans rows by one spec and augmentation. For one thread at a time."""

    def __init__(self, spec: SampleSpec, augmentation: Augmentation | None, seed: int, facts: FileFacts | None = None) -> None:
        self._spec = spec
        self._preset = augmentation if isinstance(augmentation, Preset) else None
        self._draws = SampleDraws(seed)
        self._facts = facts
        self._reader = FileReader()
        self._working_directory = os.path.join(os.getcwdb(), b"")
        self.open_file = OpenFile()
        """The file that is being read."""

    def __call__(self, paths: Sequence[bytes], epoch: int, rows: Sequence[int]) -> RowPlans:
        """Read the header of each JPEG and plan its row, in about 100 µs each, most of it spent on checking the file's structure.

        An empty `paths` leaves every row to the reference decoder.
        """
        slots: list[int] = []
        sources, reductions, geometry, roundings = [], [], [], []
        faults, draws = np.full(len(rows), b"", object), np.zeros((len(rows), DRAWS if self._preset is not None else 0))
        if self._preset is not None:
            for slot, row in enumerate(rows):
                draws[slot] = self._draws(epoch, row)
        for slot, path in enumerate(paths):
            if isinstance(path, Span | Address):  # TensorFlow opens whole files
                continue
            absolute = path if path.startswith(b"/") else self._working_directory + path
            if not path or _means_another_file_to_tensorflow(absolute):
                continue
            self.open_file.begin(absolute)
            try:
                read = self._reader.read_jpeg(absolute, self._spec.max_pixels)
            except BadImage as error:
                faults[slot] = fault(error)
                continue
            finally:
                if self._facts is not None and self._reader.header is not None:
                    self._facts.note(rows[slot], self._reader.version, self._reader.header)
            if read is None or read[1].components not in (1, 3) or not is_regular(read[0]):
                continue
            header = read[1]
            plan = self._plan(header, draws[slot])
            if plan is not None:
                slots.append(slot)
                sources.append(absolute)
                reductions.append(plan[0])
                geometry.append(plan[1])
                roundings.append(plan[2])
        return RowPlans(
            np.array(slots, np.int32),
            np.array(sources, object),
            np.array(reductions, np.int32),
            np.array(geometry, np.int32).reshape(-1, sum(GEOMETRY.values())),
            np.array(roundings, np.float32),
            faults,
            draws,
        )

    def _plan(self, header: Header, numbers: np.ndarray) -> tuple[int, tuple[int, ...], float] | None:
        """Reduction, geometry and rounding; None for an image that the reference decoder handles better."""
        preset = self._preset
        width, height = header.oriented
        target_height, target_width, channels = self._spec.shape
        box = preset.box(numbers, width, height, target_width, target_height) if preset is not None else None
        plan = make_plan(width, height, self._spec.fit, target_width, target_height, box)
        stored_height, stored_width = -(-header.height // plan.reduction), -(-header.width // plan.reduction)
        if stored_height * stored_width > _LARGE or header.held > _LARGE:  # the reference decoder's threads take turns there
            return None
        turn = header.orientation
        y, x, window_height, window_width = _stored_window(plan, header)
        out_height, out_width = (plan.out_width, plan.out_height) if turn > 4 else (plan.out_height, plan.out_width)
        if preset is not None and preset.flips(numbers):
            turn = ((turn - 1) ^ 1) + 1  # EXIF numbers an orientation and its mirror image in pairs
        geometry = (
            *(stored_height, stored_width, channels),
            *(y, x, 0),
            *(window_height, window_width, channels),
            *(out_height, out_width),
            *_AXES[turn],
            *_STEPS[turn],
            *(plan.pad_top, target_height - plan.out_height - plan.pad_top),
            *(plan.pad_left, target_width - plan.out_width - plan.pad_left),
            *(0, 0),
        )
        halved = (window_height, window_width) == (2 * out_height, 2 * out_width)
        return plan.reduction.bit_length() - 1, geometry, 0.5 if halved else _OPENCV_ROUNDING


_LARGE = 8 << 20
"""Decoded pixels, or bytes of coefficients, above which an image is left to the reference decoder: TensorFlow's ops take 15 bytes a pixel,
and decode any number of large images at once.
"""

_OPENCV_ROUNDING = 0.375
"""cv2.resize of uint8, bilinear, blends two rows in fixed point, drops half of a quarter level from each on average, and only then rounds
to nearest: its results are 1/8 of a level low. Rounding in the same way halves the number of pixels that differ by a level. At exactly 2:1
it takes a mean of four instead.
"""

_MIRRORED, _FLIPPED = (2, 3, 6, 7), (3, 4, 7, 8)
"""EXIF orientations that mirror left and right, or top and bottom; those above 4 swap rows and columns first."""
_AXES = [(1, 0, 2) if turn > 4 else (0, 1, 2) for turn in range(9)]
_STEPS = [(-1 if turn in _FLIPPED else 1, -1 if turn in _MIRRORED else 1, 1) for turn in range(9)]


def _stored_window(plan: Plan, header: Header) -> tuple[int, int, int, int]:
    """y, x, height, width of the plan's window before orientation."""
    width, height = (-(-side // plan.reduction) for side in header.oriented)
    x = width - plan.x - plan.width if header.orientation in _MIRRORED else plan.x
    y = height - plan.y - plan.height if header.orientation in _FLIPPED else plan.y
    return (x, y, plan.width, plan.height) if header.orientation > 4 else (y, x, plan.height, plan.width)


def _means_another_file_to_tensorflow(path: bytes) -> bool:
    """Whether TensorFlow would open another file: it shortens "/../", "/./" and "//" in the text of a path without looking at links."""
    return b"/../" in path or b"/./" in path or b"//" in path


def fault(error: BadImage) -> bytes:
    """A bad file's error as bytes, which a tensor can hold."""
    return f"{error.reason}: {error.detail}".encode("utf-8", "surrogateescape")


def bad_image(text: bytes, path: bytes) -> BadImage:
    """The error that `fault` turned into bytes."""
    reason, _, detail = text.decode("utf-8", "surrogateescape").partition(": ")
    return BadImage(reason, detail, os.fsdecode(path))
