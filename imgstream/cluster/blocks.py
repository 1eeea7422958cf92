"""Blocks: what one worker is given at a time. A block carries the paths of its images, so that no machine needs the whole table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator

import numpy as np

from imgstream.files.spans import Container
from imgstream.index import ImageIndex
from imgstream.index.table.columns import Names
from imgstream.index.table.table import SPAN_COLUMNS, TableInfo
from imgstream.index.table.table_writer import TableWriter

ROWS = 1024
"""The most images in a block, unless a batch has more: some seconds of work, which is what is done again when a worker dies."""
_FOR_EACH = 4
"""At least so many blocks for each worker, so that none waits long for the last one."""


@dataclasses.dataclass(frozen=True, eq=False)  # eq: comparing arrays has no single answer
class Block:
    """Some planned batches, all full but the last; or, of a batch that kills its worker, some of its images."""

    batches: tuple[int, ...]
    """Their numbers."""
    positions: np.ndarray
    """int64 (m,): their images in the index, batch after batch."""
    batch_size: int
    whole: int | None = None
    """Of images of one batch: how many the whole batch has."""
    deaths: int = 0
    """How many workers have died of it."""
    is_suspect: bool = False
    """Whether it is part of a block that was given up."""

    def halves(self) -> tuple[Block, Block]:
        """Two blocks of whole batches or, of one batch, of its images. There must be two images."""
        if len(self.batches) > 1:
            middle = len(self.batches) // 2
            batches, at = (self.batches[:middle], self.batches[middle:]), middle * self.batch_size
        else:
            batches, at = (self.batches, self.batches), len(self.positions) // 2
        whole = self.whole if len(self.batches) > 1 else self.whole or len(self.positions)
        first, second = (
            dataclasses.replace(self, batches=numbers, positions=positions, whole=whole, deaths=0, is_suspect=True)
            for numbers, positions in zip(batches, (self.positions[:at], self.positions[at:]), strict=True)
        )
        return first, second


def blocks_of(batches: Iterable[tuple[int, np.ndarray]], batch_size: int, *, rows: int, workers: int) -> Iterator[Block]:
    """Blocks of the planned `batches`, (number, positions), for `rows` images in all and so many workers."""
    most = max(1, min(ROWS, rows // (workers * _FOR_EACH)) // batch_size)
    held: list[np.ndarray] = []
    numbers: list[int] = []
    for number, positions in batches:
        if held and (len(held[-1]) < batch_size or len(held) >= most):
            yield Block(tuple(numbers), np.concatenate(held), batch_size)
            held, numbers = [], []
        held.append(positions)
        numbers.append(number)
    if held:
        yield Block(tuple(numbers), np.concatenate(held), batch_size)


def portable(index: ImageIndex, positions: np.ndarray) -> ImageIndex:
    """The images at `positions`, int64 (m,), in a table of their own that a pickle carries, with a root that is the same everywhere: no
    working folder and no file of this machine is needed to open them, but the images.
    """
    table, at = index.table, index.positions_at(positions)
    root = index.root if "://" in index.root else os.path.abspath(index.root)
    with TableWriter(None, ["row", *(SPAN_COLUMNS if table.in_containers else ())]) as writer:
        folders, folder_ids = np.unique(table.folder_ids[at], return_inverse=True)
        for folder in folders.tolist():
            writer.add_folder(table.folder(folder))
        columns = {"row": index.rows_at(positions)}
        if table.in_containers:
            containers: list[Container] = table.containers()
            used, ids = np.unique(table.columns["container"][at], return_inverse=True)
            for container in used.tolist():
                writer.add_container(containers[container])
            columns |= {name: ids if name == "container" else table.columns[name][at] for name in SPAN_COLUMNS}
        writer.add_rows(Names.of([table.name(row) for row in at.tolist()]), folder_ids, index.labels_at(positions), **columns)
        return ImageIndex(writer.finish(TableInfo(root=root, class_names=index.class_names), None))
