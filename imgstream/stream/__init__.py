"""From rows to batches.

stream.py    Stream: what a user holds; the order, the labels, the skipped files
engine.py    the threads that fill batches, several batches ahead, finished in order
buffers.py   batch memory, recycled when nobody holds it any more
keras.py     the same batches as a keras.utils.PyDataset
"""

from __future__ import annotations

from imgstream.stream.engine import Batch
from imgstream.stream.stream import Stream

__all__ = ["Batch", "Stream"]
