"""Leaves parts of a model in float32 where int8 throughout would lose too much accuracy.

What an error in the middle of a model does to its results cannot be told from the error's size there: one channel of large numbers hides
all others, wherever it comes by. So stretches of a model are tried: left out, how near do the results come?
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from imgstream.errors import ModelError
from imgstream.export.calibration import loses_too_much
from imgstream.runtimes import Runtime
from imgstream.runtimes.int8 import PARTS

_TRIED_ON = 32
"""Images that a stretch is tried on."""
_LEFT_OUT = (PARTS // 2, 2, 1)
"""How many parts, one after another, are left in float32: half, in which fewer are looked for. With more, float16 is the smaller file."""


def leave_parts_out(
    quantize: Callable[[np.ndarray, Collection[int]], Runtime],
    images: np.ndarray,
    expected: Callable[[np.ndarray], np.ndarray],
    measured: Callable[[Runtime], dict[str, Any]],
) -> tuple[Runtime, dict[str, Any]] | None:
    """The model of fewest parts in float32 that loses no more than a point, and its accuracy; None if half of all are not enough.

    Args:
        quantize: Makes a model with ranges from images, and with these parts in float32.
        images: What ranges are taken from, as the model takes them.
        expected: The results, (B, K), of the model in float32.
        measured: The accuracy of a model: CalibrationImages.measured.
    """
    few = images[:_TRIED_ON]
    results = expected(few)

    def error(parts: Collection[int]) -> float:
        try:
            return float(np.abs(quantize(few, parts)(few) - results).mean())
        except ModelError:  # what a format's tool cannot leave out
            return math.inf

    found = None
    parts = range(PARTS)
    for count in _LEFT_OUT:
        stretches = [parts[at : at + count] for at in range(0, len(parts) - count + 1, max(1, count // 2))]
        errors = [error(stretch) for stretch in stretches]
        if min(errors) == math.inf:
            break
        parts = stretches[int(np.argmin(errors))]
        runtime = quantize(images, parts)
        accuracy = measured(runtime)
        if loses_too_much(accuracy):
            break
        found = runtime, {**accuracy, "parts": PARTS, "parts_in_float32": list(parts)}
    return found
