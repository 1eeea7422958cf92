"""Chooses the precision that training computes in: bfloat16 saves a third of the time on processors with instructions for it."""

from __future__ import annotations

import re
from pathlib import Path

from imgstream.runs.run import device

_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
"""Flags of /proc/cpuinfo. Without one of these, oneDNN emulates bfloat16 and is slower than with float32."""
_BFLOAT16_CAPABILITY, _FLOAT16_CAPABILITY = (8, 0), (7, 0)
"""CUDA compute capabilities from which a GPU has tensor cores for it."""


def choose_precision(asked: str, cpuinfo: Path = Path("/proc/cpuinfo"), *, deep: bool = False) -> tuple[str, str]:
    """The name of the Keras dtype policy to train with, and why: float32, mixed_bfloat16 or mixed_float16.

    `asked`: auto, float32 or mixed. `deep`: samples have more levels than the 256 that bfloat16 tells apart. Weights are float32 in each,
    and so is the model that is validated and saved.
    """
    if asked == "float32":
        return "float32", "as asked"
    if asked == "auto" and deep:
        return "float32", "lower precision would lose levels"
    policy, why = _best(cpuinfo)
    if asked == "mixed" and policy == "float32":
        return "mixed_bfloat16", "as asked"
    return policy, why


def _best(cpuinfo: Path) -> tuple[str, str]:
    backend, kind = device().split()
    if kind == "gpu":
        capability = _compute_capability() if backend == "tensorflow" else _BFLOAT16_CAPABILITY
        if capability >= _BFLOAT16_CAPABILITY:
            return "mixed_bfloat16", "the GPU has tensor cores for it"
        if capability >= _FLOAT16_CAPABILITY:
            return "mixed_float16", "the GPU has tensor cores for it"
        return "float32", "the GPU has no tensor cores"
    if backend != "tensorflow":
        return "float32", f"{backend} on a CPU is fastest so"
    try:
        flags = set(re.findall(r"\w+", cpuinfo.read_text()))
    except OSError:
        flags = set()
    if flags.intersection(_CPU_FLAGS):
        return "mixed_bfloat16", "the processor has instructions for it"
    return "float32", "the processor has no instructions for bfloat16"


def _compute_capability() -> tuple[int, int]:
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return min((each.get("compute_capability", (0, 0)) for each in details), default=(0, 0))
