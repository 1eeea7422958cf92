"""imgstream merge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from imgstream.cli import options
from imgstream.cli.help import OUTPUT
from imgstream.wording import quantity


def merge(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE…", help="The stores of all parts: FILE.store of each, or the FILE that predict wrote.")
    ],
    output: Annotated[
        Path,
        typer.Option(*options.OUT, metavar="FILE", help="The predictions to write: .csv, .jsonl or .parquet.", rich_help_panel=OUTPUT),
    ],
    top_k: options.TopK = None,
    min_score: options.MinScore = 0.0,
    as_json: options.Json = False,
) -> None:
    """Join the parts that imgstream predict --shard K/N predicted: the result equals that of one command over all images.

    Examples:
        imgstream merge part*.csv.store -o all.csv
        imgstream merge part1.csv part2.csv -o all.parquet --top-k 3
    """
    import numpy as np

    from imgstream.errors import OutputError
    from imgstream.prediction.job import merge_stores, usual_top_k, write_output
    from imgstream.prediction.store import store_path
    from imgstream.prediction.writers import check_output
    from imgstream.progress import counting
    from imgstream.terminal.tables import printable

    check_output(output)
    paths = [store if store.suffix == ".store" else store_path(store) for store in stores]
    target = store_path(output)
    if target.resolve() in {path.resolve() for path in paths}:
        raise OutputError(f"{output} is what one of the shards was written to: choose another -o")
    options.check_keeps_inputs(output, *stores)
    rows = bad = 0
    with merge_stores(paths, target, top_k or 1) as store, counting("Writing", store.counts()[0]) as wrote:
        names, kept = store.get("class_names"), store.get("thresholds")
        thresholds = None if kept is None else np.array(kept, np.float32)
        top_k = top_k or usual_top_k(len(names), multi_label=thresholds is not None)
        for row in write_output(store, output, names, top_k, min_score, thresholds):
            rows += 1
            bad += row.error is not None
            if rows % 1000 == 0:
                wrote(rows)
    if as_json:
        print(json.dumps({"rows": rows, "ok": rows - bad, "bad": bad, "stores": len(paths)}))
    else:
        print(
            f"{quantity(rows, 'image')}: {rows - bad:,} predicted, {bad:,} bad, from {quantity(len(paths), 'store')}."
            f"\nPredictions: {printable(str(output))}"
        )
