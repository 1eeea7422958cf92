"""Joins a Ray cluster, or starts one on this machine, and finds out how many workers it has room for."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from imgstream.errors import ClusterError, OptionError
from imgstream.runtimes.packages import need
from imgstream.wording import quantity

_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere unless the user says so
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray 2.60 warns of otherwise: workers without a GPU leave CUDA_VISIBLE_DEVICES alone
}

_ADVICE = "ray:// takes the port of Ray Client, 10001 as a rule; a cluster that has tokens takes RAY_AUTH_MODE=token and its token"


class Cluster(NamedTuple):
    """A cluster, and how the work is shared out over it."""

    ray: Any
    """The module."""
    workers: int
    cores: int
    """Of each worker."""
    gpus: int
    """Of each worker: 0 or 1."""
    machines: int

    def __str__(self) -> str:
        each = quantity(self.cores, "core") + (" and a GPU" if self.gpus else "")
        return f"{quantity(self.workers, 'worker')} of {each} on {quantity(self.machines, 'machine')}"


@contextlib.contextmanager
def connected(on: str, parts: int | None = None) -> Iterator[Cluster]:
    """The cluster that `on` means, for the block: "ray" is the one that this process is started in (a job, RAY_ADDRESS, `ray start` on this
    machine) or, where there is none, a new one on this machine; "ray://HOST:PORT" is one that is reached through Ray Client.

    `parts`: how many workers share the work; None for one for each GPU or, without any, for each machine.

    Raises ModelError without Ray, ClusterError when the cluster cannot be reached, OptionError when it has no room for so many workers.
    """
    for name, value in _RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    ray = need("ray", "ray")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they tell is in the error
            ray.init(address=None if on == "ray" else on, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:  # ConnectionError is an OSError
        where = "RAY_ADDRESS, or the cluster on this machine," if on == "ray" else on
        text = " ".join(str(error).split())
        raise ClusterError(f"{where} cannot be reached: {text}. {_ADVICE}") from error
    try:
        machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
        yield Cluster(ray, *share_out(machines, parts), len(machines))
    finally:
        ray.shutdown()


def share_out(machines: list[dict[str, float]], parts: int | None) -> tuple[int, int, int]:
    """(workers, cores of each, GPUs of each) for machines with these resources, as Ray counts them: CPU and GPU. See `connected`.

    Raises OptionError when there are not enough cores.
    """
    gpus = [int(machine.get("GPU", 0)) for machine in machines]
    if any(gpus):
        cores = min(int(machine.get("CPU", 0)) // n for machine, n in zip(machines, gpus, strict=True) if n)
        return min(parts or sum(gpus), sum(gpus)), max(1, cores), 1
    cores_of = [n for machine in machines if (n := int(machine.get("CPU", 0)))]
    if sum(cores_of) < (parts or 1):
        raise OptionError(f"parts {parts or 1}: the cluster has {quantity(sum(cores_of), 'core')}, and a worker needs one", "parts")
    workers = parts or sum(n // min(cores_of) for n in cores_of)
    return workers, next(n for n in range(max(cores_of), 0, -1) if sum(m // n for m in cores_of) >= workers), 0
