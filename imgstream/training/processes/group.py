"""The processes of one training, as whatever has started them describes them in the environment."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import importlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from imgstream.errors import ClusterError, ImgstreamError, OptionError
from imgstream.index import ImageIndex

T = TypeVar("T")
_VARIABLES = ("KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID", "KERAS_DISTRIBUTION_JOB_ADDRESSES")
"""Of keras.distribution.initialize: how many processes, which one this is, and HOST:PORT of the first."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of a training. They take the same steps, and so must decide the same. Of one alone, nothing here has an effect.

    The methods are collective: all processes call them, in the same order.
    """

    rank: int = 0
    """Number of this process; the first, 0, decides and writes."""
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that decides and writes."""
        return self.rank == 0

    def from_first(self, value: T) -> T:
        """The `value` that the first process gives, which pickle must be able to send."""
        if self.count == 1:
            return value
        data = np.frombuffer(pickle.dumps(value), np.uint8) if self.is_first else np.zeros(0, np.uint8)
        utils = importlib.import_module("jax.experimental.multihost_utils")
        size = int(utils.broadcast_one_to_all(np.array(len(data), np.int32)))
        sent = np.asarray(utils.broadcast_one_to_all(data if self.is_first else np.zeros(size, np.uint8)))
        return pickle.loads(sent.astype(np.uint8).tobytes())  # of a process of this training, over its own connections

    def any(self, flag: bool) -> bool:
        """Whether any process gives True."""
        if self.count == 1:
            return flag
        gathered = importlib.import_module("jax.experimental.multihost_utils").process_allgather(np.array(flag))
        return bool(np.any(gathered))

    def gathered(self, values: list[T]) -> list[T]:
        """The values of all processes, by rank."""
        if self.count == 1:
            return values
        utils = importlib.import_module("jax.experimental.multihost_utils")
        data = np.frombuffer(pickle.dumps(values), np.uint8)
        sizes = np.asarray(utils.process_allgather(np.array(len(data), np.int32)))
        padded = np.zeros(int(sizes.max()), np.uint8)
        padded[: len(data)] = data
        parts = np.asarray(utils.process_allgather(padded)).astype(np.uint8)
        return [value for part, size in zip(parts, sizes.tolist(), strict=True) for value in pickle.loads(part[:size].tobytes())]

    def same_index(self, listed: Callable[[], ImageIndex]) -> ImageIndex:
        """The index that the first process has `listed`, so that all have the same rows. Raises on all what that raises on the first."""
        if self.count == 1:
            return listed()
        found: bytes | ImgstreamError = b""
        with tempfile.TemporaryDirectory(prefix="imgstream-") as folder:
            file = Path(folder) / "index.arrow"
            if self.is_first:
                try:
                    listed().save(file)
                    found = file.read_bytes()
                except ImgstreamError as error:
                    found = error
            sent = self.from_first(found)
            if isinstance(sent, ImgstreamError):
                raise sent
            file.write_bytes(sent)
            return ImageIndex.load(file)  # mapped: the file itself may go


@functools.cache  # Keras joins once in a process
def joined() -> Processes:
    """Join the processes that the environment speaks of: with KERAS_DISTRIBUTION_NUM_PROCESSES above 1, those of keras.distribution.

    Raises OptionError when the environment is not whole, or Keras' backend is not JAX; ClusterError when the others cannot be reached.
    """
    count = os.environ.get(_VARIABLES[0], "1")
    if not count.isdecimal() or not int(count):
        raise OptionError(f"{_VARIABLES[0]} must be a number of processes; it is {count!r}")
    if int(count) == 1:
        return Processes()
    rank, address = (os.environ.get(name, "") for name in _VARIABLES[1:])
    if not rank.isdecimal() or int(rank) >= int(count) or not address:
        raise OptionError(
            f"{_VARIABLES[0]} is {count}, so {_VARIABLES[1]} must be a number below it, and {_VARIABLES[2]} HOST:PORT of process 0; they "
            f"are {rank!r} and {address!r}"
        )
    import keras

    if keras.backend.backend() != "jax":
        raise OptionError(f"several processes train together on JAX only: set KERAS_BACKEND=jax (it is {keras.backend.backend()})")
    try:
        with _quiet_stdout():
            keras.distribution.initialize()
    except Exception as error:  # RuntimeError, ValueError and those of gRPC
        raise ClusterError(f"process {rank} cannot join the others at {address}: {str(error).splitlines()[0]}") from error
    return Processes(int(rank), int(count))


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Gloo, which connects the processes, tells of it on stdout: that is where results go."""
    sys.stdout.flush()
    before, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C++ has a buffer of its own
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)


@contextlib.contextmanager
def telling(processes: Processes) -> Iterator[None]:
    """Raise ClusterError for what JAX raises where another process of the training has gone."""
    try:
        yield
    except RuntimeError as error:
        if processes.count == 1 or not any(kind.__name__ in ("JaxRuntimeError", "XlaRuntimeError") for kind in type(error).__mro__):
            raise
        text = str(error).splitlines()[0]
        raise ClusterError(
            f"another process of this training has ended, and says why ({text}). With --resume all go on from the last checkpoint, as many "
            "as there are then"
        ) from error
