"""Limits how much of each GPU's memory this process takes, on any of Keras' backends."""

from __future__ import annotations

import importlib
import os
import sys

from imgstream.errors import ModelError


def limit_gpu(limit: int | None) -> None:
    """Let this process take at most `limit` bytes of each GPU's memory; None for as much as it needs, and no more.

    To be called before anything is computed. Raises ModelError when there is no GPU to limit, or when it is too late.
    """
    backend = _backend()
    {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}.get(backend, _other)(limit)


def _tensorflow(limit: int | None) -> None:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if limit is not None and not gpus:
        raise _no_gpu()
    try:
        for gpu in gpus:
            if limit is None:
                if not tf.config.get_logical_device_configuration(gpu):  # keep a limit that the caller has set
                    tf.config.experimental.set_memory_growth(gpu, True)
            else:
                configuration = tf.config.LogicalDeviceConfiguration(memory_limit=max(1, limit // 2**20))  # in MiB
                tf.config.set_logical_device_configuration(gpu, [configuration])
    except (RuntimeError, ValueError) as error:  # TensorFlow's devices are in use, or growth was set before
        if limit is not None:
            raise _too_late(str(error)) from error


def _torch(limit: int | None) -> None:
    torch = importlib.import_module("torch")
    if limit is None:
        return  # it takes what it needs by itself
    if not torch.cuda.is_available():
        raise _no_gpu()
    for gpu in range(torch.cuda.device_count()):
        share = limit / torch.cuda.get_device_properties(gpu).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), gpu)


def _jax(limit: int | None) -> None:
    """Limit JAX through the environment, which it reads when it first computes."""
    if limit is None:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        return
    total = _nvidia_memory()
    if total is None:
        raise _no_gpu()
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and getattr(bridge, "_backends", None):
        raise _too_late("JAX has its devices already")
    os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{min(1.0, limit / total):.4f}"


def _other(limit: int | None) -> None:
    if limit is not None:
        raise ModelError(
            f"--gpu-memory cannot be kept with Keras' backend {_backend()}. Train without it, or with KERAS_BACKEND=tensorflow"
        )


def gpu_name() -> str | None:
    """The name of this machine's first GPU, as nvidia-smi says, whether or not a backend uses it; None without one."""
    return next(iter(_nvidia("name")), None)


def _nvidia_memory() -> int | None:
    """Bytes of the smallest GPU, as nvidia-smi says; None without a GPU."""
    return min((int(line) * 2**20 for line in _nvidia("memory.total") if line.isdigit()), default=None)


def _nvidia(what: str) -> list[str]:
    """What nvidia-smi says of each GPU; [] without one."""
    import subprocess

    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]


def _backend() -> str:
    import keras

    return str(keras.backend.backend())


def _no_gpu() -> ModelError:
    return ModelError("--gpu-memory limits a GPU, and there is no GPU here. Train without it; --memory limits the process's own memory")


def _too_late(detail: str) -> ModelError:
    return ModelError(f"--gpu-memory comes too late: this process computes on the GPU already ({detail}). Give it in a new process")
