"""imgstream merge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from imgstream.cli import options


def merge(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE…", help="The stores of all shards: OUT.store of each, or OUT itself.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Where to: .csv, .jsonl or .parquet.")],
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="How many classes to write for each image.")] = 1,
    min_score: Annotated[
        float, typer.Option("--min-score", min=0.0, max=1.0, metavar="S", help="Below this score the label is unsure.")
    ] = 0.0,
    as_json: options.Json = False,
) -> None:
    """Join what imgstream predict --shard K/N predicted in N parts: the result equals one run's.

    [bold]Examples[/bold]

      imgstream merge part*.csv.store -o all.csv
    """
    from imgstream.errors import OutputError
    from imgstream.prediction.job import merge_stores, write_output
    from imgstream.prediction.store import store_path
    from imgstream.prediction.writers import check_output
    from imgstream.progress import counting
    from imgstream.terminal.tables import printable

    check_output(output)
    paths = [store if store.suffix == ".store" else store_path(store) for store in stores]
    target = store_path(output)
    if target.resolve() in {path.resolve() for path in paths}:
        raise OutputError(f"{output} is what one of the shards was written to: choose another -o")
    rows = bad = 0
    with merge_stores(paths, target, top_k) as store, counting("Writing", store.counts()[0]) as wrote:
        for row in write_output(store, output, store.get("class_names"), top_k, min_score):
            rows += 1
            bad += row.error is not None
            if rows % 1000 == 0:
                wrote(rows)
    if as_json:
        print(json.dumps({"rows": rows, "ok": rows - bad, "bad": bad, "stores": len(paths)}))
    else:
        print(f"{rows:,} images: {rows - bad:,} predicted, {bad:,} bad, from {len(paths)} stores.\nPredictions: {printable(str(output))}")
