"""A finished batch, and the request that it is made from."""

from __future__ import annotations

import dataclasses

import numpy as np

from imgstream.errors import BadImage


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """One batch, and which rows its samples came from."""

    number: int
    """Position of the batch in the epoch, from 0."""
    images: np.ndarray
    """(B, H, W, C): float32 in the range of the spec's scale, or uint8 pixels, by the stream's dtype. B is smaller than the batch size
    where files were bad, and may be 0.
    """
    labels: np.ndarray
    """int32 (B,), -1 = no label; float32 (B, K) when the augmentation mixes labels, or an image may have several."""
    positions: np.ndarray
    """int64 (B,): the positions of the samples in the stream's index."""
    bad: list[tuple[int, BadImage]]
    """(position in the index, error) of each file that was skipped."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What a worker needs to make one batch."""

    number: int
    epoch: int
    positions: np.ndarray  # int64 (B,), in the index
    rows: np.ndarray  # int64 (B,), in the table: what randomness is keyed by
    labels: np.ndarray  # int32 (B,), or float32 (B, K) where an image may have several
