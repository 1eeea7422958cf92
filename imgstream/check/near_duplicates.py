"""Finds images that are the same except for their encoding or size.

Two thumbnails show the same image when they differ by less than a tenth of their contrast (root mean square, in luma), and little in
colour. In 6,000 photographs, re-encoded and resized copies differ by 0.01 to 0.1 of it, unrelated images by 0.38 and more.

Not all pairs are compared. A thumbnail has 48 bits: which of its 48 lowest frequencies (discrete cosine transform) exceed a threshold. They
form two keys of 24 bits; two images are compared when they share a key, where bits close to the threshold are taken both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from imgstream.check.clusters import Links
from imgstream.check.file_records import FileRecords, mapped
from imgstream.check.thumbnail import SIDE

PLAIN = 4.0
"""Contrast (standard deviation of the thumbnail's luma, of 255 levels) below which an image is left out: blank pages, black frames and
plain colours are all alike.
"""
_MOST = 0.1
"""Largest difference, root mean square, as a share of the smaller contrast."""
_MOST_COLOUR = 6.0
"""Largest difference in levels, root mean square of Cr and Cb: re-encoding gives at most 4.2; a grey copy of a colourful image counts as
another image.
"""

_KEY_BITS = 24
_BITS = 2 * _KEY_BITS
_THRESHOLD = 0.5
"""Levels of root mean square in one frequency. Not 0: frequencies that drawings lack would be on either side by chance."""
_UNSURE = 0.35
"""Bits within this distance of the threshold are taken both ways …"""
_MOST_UNSURE = 5
"""… but only the closest of them in a key: at most 32 keys are looked up."""
_MOST_APART = 14
"""Bits of 48 in which a pair may differ to be compared at all."""
_MOST_IN_BUCKET = 64
"""The most rows with the same key that a row is compared with. If more share it, each is compared with those next to it in the order of all
bits, so that equal ones are linked in a chain: the work does not grow with the square of the number of copies.
"""

_ROWS, _PAIRS = 1 << 14, 1 << 14
"""Number of rows, and of pairs, processed at once."""


def link_near(facts: FileRecords, rows: np.ndarray, links: Links, progress: Callable[[int], None]) -> None:
    """Link those of `rows`, int64 (m,) of decoded files, that show the same image.

    `progress` is called with the number of rows done so far, of 2 × m.
    """
    rows = rows[~plain(facts, rows)]
    bits, unsure = mapped((len(rows),), np.dtype(np.uint64)), mapped((2, len(rows), _MOST_UNSURE), np.dtype(np.uint8))
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        bits[part], unsure[:, part] = _bits(facts.luma[rows[part]])
    for half in (0, 1):
        for done, a, b in _candidates(bits, unsure[half], half):
            close = np.bitwise_count(bits[a] ^ bits[b]) <= _MOST_APART
            _compare(facts, rows[a[close]], rows[b[close]], links)
            progress(half * len(rows) + done)


def _compare(facts: FileRecords, first: np.ndarray, second: np.ndarray, links: Links) -> None:
    """Link the pairs that are alike. Rows that are linked already are not compared again, even for a million copies."""
    for start in range(0, len(first), _PAIRS):
        a, b = first[start : start + _PAIRS], second[start : start + _PAIRS]
        apart = links.roots_of(a) != links.roots_of(b)
        a, b = a[apart], b[apart]
        same = alike(facts, a, b)
        links.add(a[same], b[same])


def plain(facts: FileRecords, rows: np.ndarray) -> np.ndarray:
    """Whether each image has too little contrast to be told from others: bool (m,)."""
    found = np.empty(len(rows), bool)
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        found[part] = facts.luma[rows[part]].std((1, 2), dtype=np.float32) < PLAIN
    return found


def alike(facts: FileRecords, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether the thumbnails of first[k] and second[k] show the same image: bool (p,)."""
    a, b = facts.luma[first].astype(np.float32), facts.luma[second].astype(np.float32)
    contrast = np.minimum(a.std((1, 2)), b.std((1, 2)))
    found: np.ndarray = np.square(a - b).mean((1, 2)) <= np.square(_MOST * contrast)
    a, b = facts.chroma[first].astype(np.float32), facts.chroma[second].astype(np.float32)
    return found & (np.square(a - b).mean((1, 2, 3)) <= _MOST_COLOUR**2)


def _frequencies() -> np.ndarray:
    """The matrix that gives the _BITS lowest frequencies of a thumbnail, in levels, lowest first and without the mean: float32 (256,
    48).
    """
    waves = cv2.dct(np.eye(SIDE), flags=cv2.DCT_ROWS)
    lowest = sorted(((u, v) for u in range(SIDE) for v in range(SIDE)), key=lambda at: (sum(at), at))[1 : _BITS + 1]
    return np.stack([np.outer(waves[:, u], waves[:, v]).ravel() / SIDE for u, v in lowest], 1).astype(np.float32)


_FREQUENCIES = _frequencies()
_OF_KEY = (np.arange(0, _BITS, 2), np.arange(1, _BITS, 2))
"""The frequencies of each key, alternating: the low ones, which are the most reliable, serve both."""
_PLACES = np.append(np.uint64(1) << np.arange(_KEY_BITS, dtype=np.uint64), np.uint64(0))
_NONE = _KEY_BITS
"""A place after all others, where no bit is."""


def _bits(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two keys in one number, uint64 (m,), the first in the lower half; and the places of the unsure bits of each key, uint8 (2, m,
    _MOST_UNSURE), the least sure first, then _NONE.
    """
    above = luma.reshape(len(luma), -1).astype(np.float32) @ _FREQUENCIES - _THRESHOLD
    bits = np.zeros(len(luma), np.uint64)
    unsure = np.empty((2, len(luma), _MOST_UNSURE), np.uint8)
    for half, of_key in enumerate(_OF_KEY):
        values = above[:, of_key]
        bits |= ((values > 0) @ _PLACES[:_NONE]) << np.uint64(32 * half)
        distance = np.abs(values)
        nearest = np.argpartition(distance, _MOST_UNSURE, 1)[:, :_MOST_UNSURE]
        order = np.argsort(np.take_along_axis(distance, nearest, 1), 1)
        nearest = np.take_along_axis(nearest, order, 1)
        unsure[half] = np.where(np.take_along_axis(distance, nearest, 1) < _UNSURE, nearest, _NONE)
    return bits, unsure


def _candidates(bits: np.ndarray, unsure: np.ndarray, half: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The number of rows done, and pairs of positions in `bits` that share the key when some unsure bits are flipped: int64 (p,) each."""
    other = np.uint64(32) if half else np.uint64(0)
    turned = (bits >> other) | (bits << (np.uint64(64) - other)) if half else bits  # this key below, the other one above
    keys = turned.astype(np.uint32)
    order = np.lexsort((turned, keys))
    ordered = keys[order]
    for start in range(0, len(bits), _ROWS):
        at = np.arange(start, min(start + _ROWS, len(bits)))
        own = order[at]
        past = np.searchsorted(ordered, ordered[at], "right")
        yield at[-1] + 1, *_pairs(own, order, at + 1, past)
        for chosen in range(1, 1 << _MOST_UNSURE):
            places = [place for place in range(_MOST_UNSURE) if chosen >> place & 1]
            some = own[unsure[own, places[-1]] != _NONE]
            if not len(some):
                continue
            wanted = keys[some] ^ _PLACES[unsure[some][:, places]].sum(1).astype(np.uint32)
            yield at[-1] + 1, *_pairs(some, order, np.searchsorted(ordered, wanted), np.searchsorted(ordered, wanted, "right"))


def _pairs(rows: np.ndarray, order: np.ndarray, first: np.ndarray, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """rows[k] with each of order[first[k] : past[k]], at most _MOST_IN_BUCKET of them."""
    counts = np.minimum(past - first, _MOST_IN_BUCKET)
    a = np.repeat(rows, counts)
    within = np.arange(len(a)) - np.repeat(np.cumsum(counts) - counts, counts)
    return a, order[np.repeat(first, counts) + within]
