"""What the tf.data path is told of a batch before a pixel of it is decoded: all that only Python knows, as one array a field."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from imgstream.augment import Augmentation, Preset
from imgstream.decode.sample import LARGE_PIXELS
from imgstream.errors import BadImage
from imgstream.geometry import Plan, make_plan
from imgstream.header import Header
from imgstream.order import DRAWS, SampleDraws
from imgstream.source import read_jpeg_header
from imgstream.spec import SampleSpec

JPEG, REFERENCE, BAD = 0, 1, 2
"""A row's road: through TensorFlow's decoder, through the reference decoder, or nowhere, where the file is known to be bad."""

GEOMETRY = (
    "road",
    "reduction",  # 0, 1, 2, 3: decode at 1, 1/2, 1/4, 1/8
    "height",  # as it is decoded
    "width",
    "y",  # of the window
    "x",
    "window_height",
    "window_width",
    "out_height",  # of the resized window
    "out_width",
    "turn",  # the EXIF orientation to give it, the augmentation's flip included
    "pad_top",
    "pad_left",
)
"""Columns of RowPlans.geometry. All but the padding lies in the stored frame, before orientation: turning a small picture last costs less
than a large one first."""


class RowPlans(NamedTuple):
    """The rows of one batch, as tensors or as arrays."""

    paths: np.ndarray
    """bytes (B,), absolute."""
    geometry: np.ndarray
    """int32 (B, len(GEOMETRY))"""
    faults: np.ndarray
    """bytes (B,): "reason: detail" of files that are known to be bad, else empty."""
    draws: np.ndarray
    """float64 (B, DRAWS): the augmentation's numbers."""


class RowPlanner:
    """Plans rows by one spec and augmentation. For one thread at a time."""

    def __init__(self, spec: SampleSpec, augmentation: Augmentation | None, seed: int) -> None:
        self._spec = spec
        self._preset = augmentation if isinstance(augmentation, Preset) else None
        self._draws = SampleDraws(seed)
        self._working_directory = os.path.join(os.getcwdb(), b"")

    def __call__(self, paths: list[bytes], epoch: int, rows: np.ndarray) -> RowPlans:
        """Read each file's header and plan it; a few microseconds of this thread each."""
        count = len(paths)
        plans = RowPlans(
            np.array([self._absolute(path) for path in paths], object),
            np.zeros((count, len(GEOMETRY)), np.int32),
            np.full(count, b"", object),
            np.zeros((count, DRAWS)),
        )
        for i, row in enumerate(rows.tolist()):
            if self._preset is not None:
                plans.draws[i] = self._draws(epoch, row)
            try:
                plans.geometry[i] = self._geometry(paths[i], plans.paths[i], plans.draws[i])
            except BadImage as error:
                plans.geometry[i, 0], plans.faults[i] = BAD, fault(error)
        return plans

    def _absolute(self, path: bytes) -> bytes:
        return path if path.startswith(b"/") else self._working_directory + path

    def _geometry(self, path: bytes, absolute: bytes, numbers: np.ndarray) -> tuple[int, ...]:
        by_reference = (REFERENCE, *[0] * (len(GEOMETRY) - 1))
        if _means_another_file_to_tensorflow(absolute):
            return by_reference
        header = read_jpeg_header(path, self._spec.max_pixels)
        if header is None or header.components not in (1, 3):
            return by_reference
        width, height = header.oriented
        target_height, target_width = self._spec.size
        box = self._preset.box(numbers, width, height, target_width, target_height) if self._preset is not None else None
        plan = make_plan(width, height, self._spec.fit, target_width, target_height, box)
        stored_height, stored_width = -(-header.height // plan.reduction), -(-header.width // plan.reduction)
        if stored_height * stored_width > LARGE_PIXELS:  # one at a time, and only the reference decoder waits its turn
            return by_reference
        turn = header.orientation
        flips = self._preset is not None and self._preset.flips(numbers)
        y, x, window_height, window_width = _stored_window(plan, header)
        out_height, out_width = (plan.out_width, plan.out_height) if turn > 4 else (plan.out_height, plan.out_width)
        return (
            JPEG,
            plan.reduction.bit_length() - 1,
            stored_height,
            stored_width,
            y,
            x,
            window_height,
            window_width,
            out_height,
            out_width,
            ((turn - 1) ^ 1) + 1 if flips else turn,  # EXIF numbers an orientation and its mirror image in pairs
            plan.pad_top,
            plan.pad_left,
        )


def _stored_window(plan: Plan, header: Header) -> tuple[int, int, int, int]:
    """y, x, height, width of the plan's window before orientation."""
    width, height = (-(-side // plan.reduction) for side in header.oriented)
    x = width - plan.x - plan.width if header.orientation in MIRRORED else plan.x
    y = height - plan.y - plan.height if header.orientation in FLIPPED else plan.y
    return (x, y, plan.width, plan.height) if header.orientation > 4 else (y, x, plan.height, plan.width)


MIRRORED, FLIPPED = (2, 3, 6, 7), (3, 4, 7, 8)
"""EXIF orientations that mirror left and right, or top and bottom; those above 4 swap rows and columns before."""


def _means_another_file_to_tensorflow(path: bytes) -> bool:
    """TensorFlow shortens "/../", "/./" and "//" by the letters of the path, whatever links there are."""
    return b"/../" in path or b"/./" in path or b"//" in path


def fault(error: BadImage) -> bytes:
    """What was wrong with a file, as a tensor can hold it."""
    return f"{error.reason}: {error.detail}".encode("utf-8", "surrogateescape")


def bad_image(text: bytes, path: bytes) -> BadImage:
    """The error that `fault` wrote down."""
    reason, _, detail = text.decode("utf-8", "surrogateescape").partition(": ")
    return BadImage(reason, detail, os.fsdecode(path))
