"""Selects what computes a model's forward pass: Keras, or a faster runtime that the model is converted for on the spot."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from imgstream.errors import ModelError
from imgstream.export.serving import check_backend, in_float32, pixel_model
from imgstream.models.forward import Engine, Forward, Program
from imgstream.runs.golden import FLOAT32_TOLERANCE, draw_samples
from imgstream.runs.run import device
from imgstream.runtimes import FORMATS, Runtime
from imgstream.runtimes.packages import is_installed, need
from imgstream.runtimes.runtime import chunk_for
from imgstream.spec import SampleSpec
from imgstream.stream.plan import cpu_count

EngineName = Literal["keras", "openvino", "onnxruntime", "litert"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
LEAST_IMAGES = 2_000
"""Fewer are predicted before another engine is ready."""

_FORMATS = {"openvino": "openvino", "onnxruntime": "onnx", "litert": "litert"}
_SECONDS = 2.0
"""Of measuring, all engines together."""
_MARGIN = 1.1
"""Another engine has to be so many times as fast as Keras."""


class EngineSelection(NamedTuple):
    """An engine, and why it was selected."""

    name: EngineName
    why: str


class ConvertedModel(Engine):
    """A Keras model, float32 (B, *spec.shape) → float32 (B, D), converted for the engine called `name`.

    Raises ModelError when a package is missing, the model cannot be converted, or the engine gives something else than Keras for images
    that our own code draws: more than 1e-4 of the largest number.
    """

    def __init__(self, model: Any, spec: SampleSpec, name: EngineName, batch_size: int) -> None:
        format = FORMATS[_FORMATS[name]]  # noqa: A001 - as it is called
        for module in format.modules:
            need(module, format.extra)
        check_backend()
        threads = cpu_count()
        folder = Path(tempfile.mkdtemp(prefix="imgstream-"))
        try:
            file = folder / f"model{format.ending}"
            format.write(pixel_model(model, spec), file, "float32")
            self._runtime: Runtime = format.open(file, chunk_for(batch_size, threads), threads)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # what is mapped stays
        samples = draw_samples(spec)
        expected = Forward(Program(in_float32(model), spec), len(samples))(samples)
        self.difference = float(np.abs(self(samples) - expected).max() / max(1e-6, float(np.abs(expected).max())))
        """From Keras on the drawn images, at most, as a share of the largest number."""
        if not self.difference <= FLOAT32_TOLERANCE:
            raise ModelError(
                f"{name} does not compute what Keras computes: drawn images differ by {self.difference:.1e} of the largest logit, "
                f"{FLOAT32_TOLERANCE:.0e} is allowed. Use another --engine"
            )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, C) pixels → float32 (B, D)."""
        return self._runtime(images)


def select_engine(model: Any, spec: SampleSpec, asked: str, *, images: int, batch_size: int) -> tuple[Engine, EngineSelection]:
    """What is to compute the forward pass of the Keras `model`: a ConvertedModel, or Keras' own Program; and why.

    `asked`: "auto" takes the fastest of those that are installed and agree with Keras, measured for two seconds, where there are 2,000
    `images` or more; or the name of one, which raises ModelError as ConvertedModel does.
    """
    if asked == "keras":
        return Program(model, spec), EngineSelection("keras", "as asked")
    if asked != "auto":
        name: EngineName = next(each for each in ENGINES if each == asked)
        converted = ConvertedModel(model, spec, name, batch_size)
        return converted, EngineSelection(name, f"as asked; it differs from Keras by {converted.difference:.0e}")
    if images < LEAST_IMAGES:
        return Program(model, spec), EngineSelection("keras", f"fewer than {LEAST_IMAGES:,} images are not worth measuring")
    if device() != "tensorflow cpu":
        return Program(model, spec), EngineSelection("keras", f"the other engines compute on the processor, and Keras on {device()}")
    installed = [each for each in ENGINES if each in _FORMATS and is_installed(FORMATS[_FORMATS[each]].modules)]
    if not installed:
        return Program(model, spec), EngineSelection("keras", "no other engine is installed: see the extras openvino, onnx and litert")
    candidates: dict[EngineName, Engine] = {"keras": Program(model, spec)}
    refused = []
    for each in installed:
        try:
            candidates[each] = ConvertedModel(model, spec, each, batch_size)
        except ModelError:
            refused.append(each)  # Keras is there
    engine, chosen = _fastest(candidates, spec, batch_size)
    left_out = f"; {', '.join(refused)} cannot compute this model" if refused and len(candidates) > 1 else ""
    return engine, chosen._replace(why=chosen.why + left_out)


def _fastest(candidates: dict[EngineName, Any], spec: SampleSpec, batch_size: int) -> tuple[Engine, EngineSelection]:
    if len(candidates) == 1:
        return candidates["keras"], EngineSelection("keras", "no other engine that is installed agrees with it")
    batch = np.resize(draw_samples(spec), (batch_size, *spec.shape))
    rates = _rates({name: Forward(each, batch_size) for name, each in candidates.items()}, batch)
    best = max(rates, key=lambda name: rates[name])
    if rates[best] < _MARGIN * rates["keras"]:
        best = "keras"
    told = ", ".join(f"{name} {rate:,.0f}" for name, rate in sorted(rates.items(), key=lambda item: -item[1]))
    why = f"images/s: {told}"
    if best != "keras":
        converted = candidates[best]
        assert isinstance(converted, ConvertedModel)
        why += f"; it differs from Keras by {converted.difference:.0e}"
    return candidates[best], EngineSelection(best, why)


def _rates(forwards: dict[EngineName, Callable[[np.ndarray], np.ndarray]], batch: np.ndarray) -> dict[EngineName, float]:
    """Images per second of each, by turns, so that what else the machine does slows all of them; a first batch is not counted."""
    seconds = dict.fromkeys(forwards, 0.0)
    rounds = -1
    while sum(seconds.values()) < _SECONDS:
        for name, forward in forwards.items():
            began = time.perf_counter()
            forward(batch)
            seconds[name] += time.perf_counter() - began if rounds >= 0 else 0.0
        rounds += 1
    return {name: rounds * len(batch) / each for name, each in seconds.items()}
