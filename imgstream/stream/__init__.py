"""Reads the rows of an index in batches.

plan.py                the checked arguments of a stream, and the order of its rows
batch.py               a finished batch, and the request for one
workers/               the Python pipeline: threads or processes that decode into recycled buffers
tf/                    the tf.data pipeline
stream.py              Stream, the public class
keras_dataset.py       the same batches as a keras.utils.PyDataset
pipeline_selection.py  measures which of the two pipelines is faster
parity.py              compares the two pipelines, value by value
"""

from __future__ import annotations

from imgstream.stream.batch import Batch
from imgstream.stream.pipeline_selection import choose_pipeline
from imgstream.stream.stream import Stream

__all__ = ["Batch", "Stream", "choose_pipeline"]
