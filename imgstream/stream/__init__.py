"""From rows to batches.

stream.py    Stream: what a user holds; the order, the labels, the skipped files
engine.py    batches made several ahead, finished in order, by threads or processes
threads.py   threads that make samples
processes.py worker processes that do, where one interpreter lock cannot serve all threads; worker.py is what they run
readahead.py files that the disk has to give, asked for ahead
maker.py     what a thread does to make one sample
cached.py    samples from the pixel cache
batch.py     a batch while it is being filled, and when it is done
buffers.py   batch memory, recycled when nobody holds it any more
keras.py     the same batches as a keras.utils.PyDataset
tfdata.py    the same batches by TensorFlow's ops and threads
row_plans.py what TensorFlow is told of a row: window, reduction, orientation
choice.py    which of the two is the faster
parity.py    the two compared, value by value
"""

from __future__ import annotations

from imgstream.stream.batch import Batch
from imgstream.stream.choice import choose_pipeline
from imgstream.stream.stream import Stream

__all__ = ["Batch", "Stream", "choose_pipeline"]
