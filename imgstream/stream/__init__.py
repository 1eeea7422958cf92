"""From rows to batches.

plan.py                what is read, in which order and batches; what a stream was asked for
batch.py               a batch that is done
workers/               the Python pipeline: threads or processes, decoders, buffers that are used again
tf/                    the tf.data pipeline
stream.py              Stream: what a user holds
keras_dataset.py       the same batches as a keras.utils.PyDataset
pipeline_selection.py  which of the two pipelines is the faster
parity.py              the two compared, value by value
"""

from __future__ import annotations

from imgstream.stream.batch import Batch
from imgstream.stream.pipeline_selection import choose_pipeline
from imgstream.stream.stream import Stream

__all__ = ["Batch", "Stream", "choose_pipeline"]
