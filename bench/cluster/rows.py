"""What it costs to plan rows, hand them to workers on Ray, and record their results, without any image: scores are made up.

    python bench/cluster/rows.py [ROWS] [--workers N]     1,000,000 rows: about four minutes on two cores

Prints, for each part, rows a second, and the memory of the driver (anonymous, MB) after each tenth of the rows: it must not grow. Ends with
a calculation, marked as such, of what 10⁹ rows would take by these figures.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imgstream.cluster.blocks import blocks_of
from imgstream.cluster.connection import connected
from imgstream.cluster.pool import Pool
from imgstream.cluster.worker import Compute
from imgstream.index import ImageIndex
from imgstream.memory import anonymous_bytes
from imgstream.prediction.job import RankedBatch, record_all
from imgstream.prediction.store import RANK, PredictionStore

BATCH, RANKS, IN_FOLDER = 128, 5, 1000


class StandIn:
    """Scores that cost nothing."""

    def open(self, threads: int) -> Compute:
        """See Job."""

        def compute(images: ImageIndex) -> np.ndarray:
            ranks = np.zeros((len(images), RANKS), RANK)
            ranks["score"] = np.linspace(0.5, 0.1, RANKS)
            return ranks

        return compute


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    rows: int = arguments.rows
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        paths = (f"folder-{i // IN_FOLDER:06}/image-{i:09}.jpg" for i in range(rows))
        index = ImageIndex.from_paths(paths, root=folder)
        listed = time.monotonic() - began
        with PredictionStore(Path(folder) / "p.store", {}, ranks=RANKS) as store:
            began = time.monotonic()
            plan = store.plan(index, BATCH)
            planned = time.monotonic() - began
            with connected("ray", arguments.workers) as cluster, Pool(cluster, StandIn(), index) as pool:
                memory: list[int] = []

                def results() -> Iterator[tuple[int, RankedBatch]]:
                    blocks = blocks_of(store.batches(), BATCH, rows=rows, workers=pool.size)
                    done = 0
                    for block, ranks in pool.results(blocks):
                        assert ranks is not None
                        for number, start in zip(block.batches, range(0, len(ranks), BATCH), strict=True):
                            yield number, RankedBatch(block.positions[start : start + BATCH], ranks[start : start + BATCH], [])
                        done += len(ranks)
                        if done * 10 // rows > len(memory) - 1:
                            memory.append((anonymous_bytes() or 0) >> 20)

                summary = record_all(store, results(), plan)
        size = (Path(folder) / "p.store").stat().st_size
    assert (summary.rows, summary.ok) == (rows, rows)
    print(f"{rows:,} rows, {arguments.workers} workers, nothing decoded and nothing computed")
    print(f"listed      {rows / listed:>12,.0f} rows/s")
    print(f"planned     {rows / planned:>12,.0f} rows/s")
    print(f"handed out and recorded {rows / summary.seconds:,.0f} rows/s")
    print(f"driver      {', '.join(map(str, memory))} MB after each tenth")
    print(f"store       {size / rows:,.0f} bytes a row")
    hours = [1e9 / rows * seconds / 3600 for seconds in (planned, summary.seconds)]
    times = f"{hours[0]:.1f} h to plan, {hours[1]:.1f} h to hand out and record"
    print(f"Calculated, not run, for 10⁹ rows: {times}, {size / rows:.0f} GB of store")
    for machines, rate in ((1, 160), (8, 160), (64, 160)):
        computing = 1e9 / (machines * rate) / 3600
        bound = "the driver" if hours[1] > computing else "the workers"
        print(f"  {machines:>2} machines of {rate} images/s: {max(computing, hours[1]):,.0f} h, bound by {bound}")


if __name__ == "__main__":
    main()
