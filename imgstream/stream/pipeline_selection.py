"""Measures which of the two pipelines reads a stream's files faster on this machine, and selects it."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from imgstream.errors import SpecError
from imgstream.stream.plan import Pipeline
from imgstream.stream.stream import Stream

CHOICES = ("auto", "python", "tf")
FEWEST = 2_000
"""Fewer files than this are not worth the seconds that measuring takes."""
ADVANTAGE = 1.1
"""How many times as fast the tf pipeline must be to be selected. A smaller difference is noise, and would select now one, now the other."""
_TRIED, _SECONDS, _ROUNDS = 16_384, 1.0, 2
_WARM_UP = 256
"""Images read before a rate is measured: the first wait for graphs and decoders, and the next were made during that wait."""


class PipelineSelection(NamedTuple):
    """A pipeline, and why it was selected."""

    pipeline: Pipeline
    why: str


def choose_pipeline(stream: Stream, asked: str = "auto") -> PipelineSelection:
    """Select the pipeline for `stream`: the one `asked` for, or for "auto" the faster one.

    "auto" takes python where Keras' backend is not TensorFlow, with a cache, and for fewer than FEWEST files. Otherwise both pipelines read
    files spread over the index, two seconds each in turns, and tf is selected if its better round is ADVANTAGE times as fast. Raises
    SpecError for an unknown name.
    """
    if asked not in CHOICES:
        raise SpecError(f"pipeline must be one of {', '.join(CHOICES)}; got {asked!r}")
    if asked != "auto":
        return PipelineSelection(asked, "as asked")  # type: ignore[arg-type]  # one of CHOICES
    if _backend() != "tensorflow":
        return PipelineSelection("python", f"Keras runs on {_backend()}")
    if stream.cache is not None:
        return PipelineSelection("python", "both would read the cache in Python")
    if stream.sample_count < FEWEST:
        return PipelineSelection("python", f"fewer than {FEWEST:,} files are not worth measuring")
    spread = np.unique(np.linspace(0, len(stream.index) - 1, _TRIED).astype(np.int64))
    sample = stream.replace(index=stream.index.take(spread), batch_size=min(stream.batch_size, 32), on_bad="skip", shard=(0, 1))
    rates = dict.fromkeys(("python", "tf"), 0.0)
    for _ in range(_ROUNDS):
        for pipeline in rates:
            rates[pipeline] = max(rates[pipeline], _rate(sample.replace(pipeline=pipeline)))
    faster: Pipeline = "tf" if rates["tf"] > ADVANTAGE * rates["python"] else "python"
    measured = f"python reads {rates['python']:,.0f} images/s of these files, tf {rates['tf']:,.0f}"
    return PipelineSelection(faster, f"{measured}; tf is taken when it is {ADVANTAGE} times as fast")


def _rate(stream: Stream) -> float:
    """Images/s, without those that were read ahead before the measurement began."""
    began, images, warm = time.perf_counter(), 0, 0
    for batch in stream.traced_batches():
        images += len(batch.positions) + len(batch.bad)
        now = time.perf_counter()
        if images <= _WARM_UP:
            began, warm = now, images
        elif now - began > _SECONDS:
            break
    return (images - warm) / (time.perf_counter() - began)


def _backend() -> str:
    import keras

    return str(keras.backend.backend())
