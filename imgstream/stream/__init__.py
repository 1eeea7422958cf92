"""From rows to batches.

stream.py    Stream: what a user holds; the order, the labels, the skipped files
engine.py    the threads that fill batches, several batches ahead, finished in order
buffers.py   batch memory, recycled when nobody holds it any more
keras.py     the same batches as a keras.utils.PyDataset
tfdata.py    the same batches by TensorFlow's ops and threads
row_plans.py what TensorFlow is told of a row: window, reduction, orientation
choice.py    which of the two is the faster
parity.py    the two compared, value by value
"""

from __future__ import annotations

from imgstream.stream.choice import choose_pipeline
from imgstream.stream.engine import Batch
from imgstream.stream.stream import Stream

__all__ = ["Batch", "Stream", "choose_pipeline"]
