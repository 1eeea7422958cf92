"""PartStream: of each batch of a stream, the part that one of several processes reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from imgstream.stream import Batch, Stream
from imgstream.stream.batch import Request
from imgstream.training.processes.group import Processes


class PartStream(Stream):
    """Samples k, k + n, k + 2n, … of every batch, for process k of n: together the batches of the whole stream, whatever n is. Where n
    divides the batch size, these are the rows of `Stream.shard(k, n)`.

    The number of batches and the batch size are those of the whole; a part may be empty.
    """

    processes = Processes()

    @classmethod
    def of(cls, stream: Stream, processes: Processes) -> Stream:
        """The part of `stream` that this process reads: of one process, the stream itself."""
        if processes.count == 1:
            return stream
        part = cls(**stream.arguments)
        part.processes = processes
        return part

    def requests(self, epoch: int, start: int) -> Iterator[Request]:
        """The parts that are not empty."""
        own = slice(self.processes.rank, None, self.processes.count)
        for request in super().requests(epoch, start):
            if len(request.positions[own]):
                yield dataclasses.replace(request, positions=request.positions[own], rows=request.rows[own], labels=request.labels[own])

    def traced_batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """As Stream.traced_batches, with every batch of the whole stream: all processes take the same number of steps."""
        last = start - 1
        for batch in super().traced_batches(epoch, start):
            last = batch.number
            yield batch
        for number in range(last + 1, len(self)):  # only the last batch has fewer samples than there may be processes
            images = np.zeros((0, *self.spec.shape), self.dtype)
            yield Batch(number, images, np.zeros(0, np.int32), np.zeros(0, np.int64), [])

    def replace(self, **changes: Any) -> Stream:
        """As Stream.replace: the same part of the new stream."""
        return PartStream.of(super().replace(**changes), self.processes)
