"""What runs on the cluster, in a process of its own. It knows nothing of other workers, and writes nothing."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from imgstream.errors import ClusterError, ImgstreamError
from imgstream.files.reader import file_version
from imgstream.index import ImageIndex
from imgstream.versions import versions

_PACKAGES = ("imgstream", "keras", "tensorflow", "jax", "opencv-python-headless", "simplejpeg", "pillow")
"""What pixels and scores depend on."""

Compute = Callable[[ImageIndex], Any]
"""Computes the images of a block; positions in the result are those in the index that it is given."""


class Job(Protocol):
    """What is to be computed: sent to every worker once."""

    def open(self, threads: int) -> Compute:
        """Load what the work needs, to be used with so many threads. Raises ImgstreamError."""


class Machine(NamedTuple):
    """What another machine has to have in common with this one: made by the command, and compared by its workers."""

    versions: dict[str, str]
    backend: str
    """Of Keras."""
    images: ImageIndex
    """A few of the images."""
    sizes: list[int | None]
    """Of their files, in bytes; None where there is none."""

    @classmethod
    def here(cls, images: ImageIndex) -> Machine:
        """This machine, by these images."""
        return cls(packages(), os.environ.get("KERAS_BACKEND", "tensorflow"), images, _sizes(images))


class Worker:
    """Computes blocks of images; Ray makes it an actor. Nothing happens before `ready`, so that what goes wrong has a name."""

    def __init__(self, job: bytes, machine: Machine, threads: int) -> None:
        """`job`: a pickle, to be opened once the environment is right: its module may import Keras, which reads it."""
        self._job, self._machine, self._threads = job, machine, threads
        self._compute: Compute | None = None

    def ready(self) -> None:
        """Check that this machine is as the command's, and open what the work needs. Raises ClusterError, which names the machine."""
        if self._compute is not None:
            return
        os.environ["KERAS_BACKEND"] = self._machine.backend  # nothing has imported Keras yet, nor TensorFlow
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(self._threads)
        try:
            _check(self._machine)
            job: Job = pickle.loads(self._job)
            self._compute = job.open(self._threads)
        except ImgstreamError as error:
            raise ClusterError(f"the machine {socket.gethostname()} (process {os.getpid()}) cannot do this work: {error}") from None

    def compute(self, images: ImageIndex) -> Any:
        """The results of a block."""
        self.ready()  # Ray may have made this process anew since the last time
        assert self._compute is not None
        return self._compute(images)


def packages() -> dict[str, str]:
    """The versions that all machines must have in common."""
    return versions(*_PACKAGES)


def check_packages(expected: dict[str, str]) -> None:
    """Raise ClusterError unless this machine has the same packages."""
    found = packages()
    for package in (*_PACKAGES, "python"):
        here, there = (each.get(package) for each in (found, expected))
        if package == "python":
            here, there = ((text or "").rpartition(".")[0] for text in (here, there))
        if here != there:
            raise ClusterError(
                f"it has {package} {here or 'not at all'}, where the command has {there or 'none'}. Install the same on both"
            )


def _check(machine: Machine) -> None:
    """Raise ClusterError unless this machine has the same packages and sees the same images."""
    check_packages(machine.versions)
    for i, (size, expected) in enumerate(zip(_sizes(machine.images), machine.sizes, strict=True)):
        if size != expected:
            what = "finds no file at" if size is None else f"finds {size:,} bytes at"
            raise ClusterError(
                f"it {what} {machine.images.path(i)}, where the command finds {'none' if expected is None else f'{expected:,}'}. Put the "
                "images on a disk that all machines have mounted at the same path"
            )


def _sizes(images: ImageIndex) -> list[int | None]:
    found = [file_version(images.path_bytes(i)) for i in range(len(images))]
    return [None if each is None else each.size for each in found]
