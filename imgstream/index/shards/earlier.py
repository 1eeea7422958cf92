"""Takes the images of shards that have not changed from the table of an earlier listing, in place of reading the shards again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from imgstream.files.spans import STORED, Container
from imgstream.index.shards.records import Record
from imgstream.index.table.table import Table


class Earlier:
    """The records of an earlier listing of shards whose names are not changed by the folders of others: TFRecord and Parquet."""

    def __init__(self, table: Table) -> None:
        self._table, self._containers = table, table.containers()
        self._labels = [name.encode("utf-8", "surrogateescape") for name in table.info.class_names] if table.info.own_labels else None
        firsts = [number for number, container in enumerate(self._containers) if container.kept == STORED]  # one a shard, its first
        self._ids = {self._containers[first]: (first, past) for first, past in pairwise([*firsts, len(self._containers)])}

    @classmethod
    def of(cls, table: Table | None) -> Earlier | None:
        """None where there is no such table, or it does not say where its labels are from."""
        return None if table is None or table.info.own_labels is None else cls(table)

    def records(self, container: Container) -> Iterator[Record] | None:
        """What a reader would give of the shard; None if it was not there, or has changed since."""
        ids = self._ids.get(container)
        return None if ids is None else self._records(container, *ids)

    def _records(self, container: Container, first_id: int, past_id: int) -> Iterator[Record]:
        table = self._table
        # All rows of a shard come together, and shards in the order of their numbers.
        first, past = (int(np.searchsorted(table.columns["container"], number)) for number in (first_id, past_id))
        for number, row in enumerate(range(first, past)):
            of, offset, length = table.place(row)
            path, label = table.relative(row), int(table.labels[row])
            name = None if path == b"%s/%d" % (container.path, number) else path  # what an image without a name is called
            own = self._labels[label] if self._labels is not None and label >= 0 else None
            yield Record(name, offset, length, own, self._containers[of].kept)
