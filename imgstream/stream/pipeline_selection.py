"""Which of the two pipelines: the faster one, measured here and now, by a rule that is told."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from imgstream.errors import SpecError
from imgstream.stream.plan import Pipeline
from imgstream.stream.stream import Stream

CHOICES = ("auto", "python", "tf")
FEWEST = 2_000
"""Files from which on it is worth a few seconds to measure."""
ADVANTAGE = 1.1
"""How many times as fast the tf pipeline must be: less is noise, and would give one run one pipeline and the next another."""
_TRIED, _SECONDS, _ROUNDS = 16_384, 1.0, 2
_WARM_UP = 256
"""Images that come before a rate is taken: the first wait for graphs and decoders, those after them were made while they waited."""


class PipelineSelection(NamedTuple):
    """A pipeline, and why it was taken."""

    pipeline: Pipeline
    why: str


def choose_pipeline(stream: Stream, asked: str = "auto") -> PipelineSelection:
    """The pipeline for `stream`: the one `asked` for, or the faster one.

    The rule of "auto": python under another Keras backend than TensorFlow, with a cache, and for fewer than FEWEST files; else both
    read files spread over the index, two seconds each by turns, and tf is taken if its better round is ADVANTAGE times as fast.
    Raises SpecError for a name that is no pipeline.
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
    """Images/s, once those that were made ahead are gone."""
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
