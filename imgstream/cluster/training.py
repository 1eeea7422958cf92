"""Trains on a cluster: Ray starts the processes of a training (imgstream.training.processes), each with the command's own arguments."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imgstream.cluster.connection import Cluster
from imgstream.cluster.worker import check_packages, packages
from imgstream.errors import ClusterError, OptionError, StallWarning
from imgstream.training.processes.interrupts import interrupts
from imgstream.wording import quantity

_STALL = 60.0
_LOOK = 1.0
"""Seconds between two looks at whether the command is to stop."""
_GRACE = 20.0
"""Seconds that the processes have to end by themselves once one has failed: each says why."""
_CHUNK = 1 << 16
_TAIL = 4096


class Told(NamedTuple):
    """What a process has written since it was asked last, and its exit code once it has ended."""

    stdout: bytes
    stderr: bytes
    code: int | None


class Process:
    """One process of a training; Ray makes it an actor. The training runs in a child, so that whatever ends it can be told."""

    def __init__(self, expected: dict[str, str]) -> None:
        """`expected`: the packages of the command's machine; see imgstream.cluster.worker.packages."""
        self._expected = expected
        self._child: subprocess.Popen[bytes] | None = None
        self._written: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._changed = threading.Condition()
        self._readers: list[threading.Thread] = []

    def address(self) -> tuple[str, int]:
        """(host, a port that is free there). Raises ClusterError, which names the machine, where its packages differ."""
        import ray

        try:
            check_packages(self._expected)
        except ClusterError as error:
            raise ClusterError(f"the machine {socket.gethostname()} cannot do this work: {error}") from None
        with socket.socket() as free:
            free.bind(("", 0))
            return ray.util.get_node_ip_address(), free.getsockname()[1]

    def start(self, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
        """Start `imgstream` with these arguments in a working folder. Raises ClusterError where that is missing."""
        if not os.path.isdir(folder):
            raise ClusterError(
                f"the machine {socket.gethostname()} has no folder {folder}. Start the command in one that all machines have"
            )
        self._child = subprocess.Popen(
            [sys.executable, "-m", "imgstream", *arguments],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        for pipe, written in zip((self._child.stdout, self._child.stderr), self._written, strict=True):
            self._readers.append(threading.Thread(target=self._read, args=(pipe, written), daemon=True))
            self._readers[-1].start()

    def told(self, seconds: float) -> Told:
        """What there is by then, at once if something is there."""
        assert self._child is not None
        with self._changed:
            self._changed.wait_for(lambda: any(self._written) or not self._reads(), timeout=seconds)
            code = None if self._reads() else self._child.wait()
            stdout, stderr = (bytes(written) for written in self._written)
            for written in self._written:
                written.clear()
        return Told(stdout, stderr, code)

    def stop(self) -> None:
        """Ask the process to end after its current step."""
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and its children at once."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def _reads(self) -> bool:
        return any(reader.is_alive() for reader in self._readers)

    def _read(self, pipe: Any, written: bytearray) -> None:
        while data := os.read(pipe.fileno(), _CHUNK):
            with self._changed:
                written += data
                self._changed.notify_all()


def own_arguments(arguments: Sequence[str]) -> list[str]:
    """The command's arguments without --on and --replicas: what each process is started with."""
    kept: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*kept, argument, *rest]
        if argument in ("--on", "--replicas"):
            del rest[:1]
        elif not argument.startswith(("--on=", "--replicas=")):
            kept.append(argument)
    return kept


def train_on(cluster: Cluster, arguments: Sequence[str], replicas: int | None = None) -> int:
    """Run `imgstream` with these arguments in one process on each of the cluster's workers, as one training, and show what the first
    writes. The first is on this machine if there is room. Returns its exit code. Ctrl-C and SIGTERM end all after a step.

    Raises ClusterError when a machine cannot do the work, or another process than the first is the first to fail; OptionError when the
    cluster has no room for so many `replicas`.
    """
    if replicas is not None and cluster.workers < replicas:
        raise OptionError(
            f"replicas {replicas}: the cluster has {quantity(cluster.workers, 'GPU')}, and each process needs one", "replicas"
        )
    return _Training(cluster, own_arguments(arguments)).run()


class _Training:
    def __init__(self, cluster: Cluster, arguments: list[str]) -> None:
        self._ray, self._count, self._arguments = cluster.ray, cluster.workers, arguments
        self._stop = threading.Event()
        self._tails = [b""] * self._count
        decoder = codecs.getincrementaldecoder("utf-8")  # a piece may end within a character
        self._shown = [(stream, decoder("backslashreplace")) for stream in (sys.stdout, sys.stderr)]
        actor = self._ray.remote(Process)
        share: dict[str, Any] = {"num_cpus": cluster.cores, "num_gpus": cluster.gpus, "max_concurrency": 2}
        here = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=True)
        expected = packages()
        self._actors = [
            actor.options(scheduling_strategy="SPREAD" if rank else here, **share).remote(expected) for rank in range(self._count)
        ]
        self._hosts = [""] * self._count

    def run(self) -> int:
        try:
            with interrupts(self._stop):
                self._start()
                return self._follow()
        finally:
            for actor in self._actors:
                with contextlib.suppress(self._ray.exceptions.RayError):
                    self._ray.get(actor.kill.remote(), timeout=_LOOK)
                self._ray.kill(actor)

    def _start(self) -> None:
        asked = [actor.address.remote() for actor in self._actors]
        addresses = [self._got(each) for each in asked]
        self._hosts = [host for host, _ in addresses]
        environment = {
            "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax"),
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(self._count),
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": "{}:{}".format(*addresses[0]),
        }
        if sys.stdout.isatty() and sys.stderr.isatty():  # what Rich then writes is shown as it comes
            environment |= {"FORCE_COLOR": "1", "COLUMNS": str(os.get_terminal_size(sys.stderr.fileno()).columns)}
        started = [
            actor.start.remote(self._arguments, str(Path.cwd()), environment | {"KERAS_DISTRIBUTION_PROCESS_ID": str(rank)})
            for rank, actor in enumerate(self._actors)
        ]
        for each in started:
            self._got(each)

    def _got(self, reference: Any) -> Any:
        """The result of an actor. Raises ClusterError when there is none; KeyboardInterrupt when the command is to stop."""
        waits, began = 0, time.monotonic()
        while not self._ray.wait([reference], timeout=_LOOK)[0]:
            if self._stop.is_set():
                raise KeyboardInterrupt
            if time.monotonic() - began > (waits + 1) * _STALL:
                waits += 1
                text = f"for {waits * _STALL:.0f} s a process has not started. `ray status` says what the cluster waits for"
                warnings.warn(text, StallWarning, stacklevel=2)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise (
                error.cause if isinstance(error.cause, ClusterError) else ClusterError(f"a process cannot start: {error.cause!r}")
            ) from error
        except self._ray.exceptions.RayError as error:
            text = " ".join(str(error).split())
            raise ClusterError(f"a process cannot start: {text}. Is imgstream installed on every machine of the cluster?") from error

    def _follow(self) -> int:
        """Show what the first process writes until all have ended."""
        running = {actor.told.remote(_LOOK): rank for rank, actor in enumerate(self._actors)}
        ended: dict[int, int | None] = {}
        """Exit codes by rank, in the order in which they came; None where the machine went."""
        given_up, stopped = float("inf"), False
        while running and time.monotonic() < given_up:
            if self._stop.is_set() and not stopped:
                stopped = True
                for actor in self._actors:
                    actor.stop.remote()
            done, _ = self._ray.wait(list(running), timeout=_LOOK)
            for reference in done:
                rank = running.pop(reference)
                try:
                    told: Told = self._ray.get(reference)
                except self._ray.exceptions.RayError as error:
                    ended[rank] = None
                    self._tails[rank] = " ".join(str(error).split()).encode()
                else:
                    self._show(rank, told)
                    if told.code is None:
                        running[self._actors[rank].told.remote(_LOOK)] = rank
                        continue
                    ended[rank] = told.code
                if ended[rank] != 0:
                    given_up = min(given_up, time.monotonic() + _GRACE)
        failed = [rank for rank, code in ended.items() if code != 0]
        if stopped and failed:
            raise KeyboardInterrupt
        if not failed:
            return 0
        first = failed[0]
        if any((ended[rank] or -1) < 0 for rank in failed):  # it could not say why: the others only say that it has gone
            first = next(rank for rank in failed if (ended[rank] or -1) < 0)
        elif 0 in failed:
            return ended[0] or 1
        raise ClusterError(
            f"process {first} of {self._count}, on {self._hosts[first]}, {_end(ended[first])}, and the others with it"
            f"{self._last_line(first)}. With --resume the same command goes on from the last checkpoint, with any number of processes"
        )

    def _show(self, rank: int, told: Told) -> None:
        self._tails[rank] = (self._tails[rank] + told.stderr)[-_TAIL:]
        if rank:
            return
        for (stream, decoder), data in zip(self._shown, (told.stdout, told.stderr), strict=True):
            if text := decoder.decode(data):
                stream.write(text)
                stream.flush()

    def _last_line(self, rank: int) -> str:
        lines = self._tails[rank].decode(errors="backslashreplace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"; it said last: {said}" if said and rank else ""


def _end(code: int | None) -> str:
    if code is None:
        return "or its machine, has gone"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
