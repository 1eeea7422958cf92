"""A batch that is done, and what is asked of those who make one."""

from __future__ import annotations

import dataclasses

import numpy as np

from imgstream.errors import BadImage


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """One batch, with where each sample came from."""

    number: int
    """Its place in the epoch, from 0."""
    images: np.ndarray
    """float32 (B, H, W, C), by the spec's scale. B is smaller where files were bad, and may be 0."""
    labels: np.ndarray
    """int32 (B,), -1 = no label; float32 (B, K) when the augmentation mixes labels."""
    positions: np.ndarray
    """int64 (B,): the samples' positions in the stream's index."""
    bad: list[tuple[int, BadImage]]
    """(position in the index, what was wrong) of the files that were left out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One batch to be made."""

    number: int
    epoch: int
    positions: np.ndarray  # int64 (B,), in the index
    rows: np.ndarray  # int64 (B,), in the table: what randomness is keyed by
    labels: np.ndarray  # int32 (B,)
