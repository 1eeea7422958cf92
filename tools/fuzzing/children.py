"""A child process as its parent sees it: it is given files, and answers, or crashes, hangs, swells or crawls. For one thread at a time."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from fuzzing.messages import Cost, Finding, Setting
from fuzzing.processes import cpu, is_at_work, memory

COMMAND = (sys.executable, "-m", "fuzzing.serve")


class Limits(NamedTuple):
    """What files may take before they count as failures."""

    seconds: float = 2.0
    """Of one core, for every 64 kB of a file, in either pipeline."""
    megabytes: float = 900.0
    """At the peak of the whole process, import of TensorFlow included."""
    silent: float = 30.0
    """Seconds without a batch."""
    idle: float = 6.0
    """The same, of a process that does nothing."""


_UNIT = 64 << 10
_STARTING = 180.0
_SURELY = 1.5
"""Times the limit of memory at which a child is ended rather than waited for."""
_GROWN = 500.0
"""MB above what it began with at which a child is replaced: graphs of passes that are over stay with TensorFlow, some 4 MB each."""
_TICK = 0.1


class Trial(NamedTuple):
    """What came of some files."""

    findings: list[Finding]
    whole: Finding | None
    """What is wrong with the pass, if it is: crash hang memory time error."""
    seconds: float
    megabytes: float
    """What a fresh process would have taken at its peak."""


class Over(Exception):
    """The child was told to end."""


class Child:
    """Starts a process when there is something to try, and another one when that is gone."""

    def __init__(self, folder: Path, limits: Limits, command: Sequence[str], warm_up: tuple[Path, list[str], Setting] | None) -> None:
        """`folder`: of its own, for its cache. `warm_up`: files that are no trouble, read by each process before others, so that what is
        loaded once counts for no file.
        """
        self._folder, self._limits, self._command, self._warm_up = folder, limits, list(command), warm_up
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._unread = b""
        self._base, self._overhead = 0.0, {"python": 0.0, "tf": 0.0}
        self._is_over = False

    def attempt(self, folder: Path, names: Sequence[str], setting: Setting) -> Trial:
        """Have files judged. Raises RuntimeError when the files of the warm-up fail, Over after end()."""
        if self._is_over:
            raise Over
        if self._process is None:
            self._start()
        units = max(math.ceil(max(1, (folder / name).stat().st_size) / _UNIT) for name in names)
        limits = self._limits._replace(seconds=units * self._limits.seconds)
        answer = self._ask(folder, names, setting, limits)
        return answer if isinstance(answer, Trial) else self._judged(answer, limits)

    def end(self) -> None:
        """End the process, and start none again. For any thread."""
        self._is_over = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout, self._errors):
                assert pipe is not None
                pipe.close()
        self._process, self._unread = None, b""

    def _start(self) -> None:
        tools = os.fspath(Path(__file__).parents[1])
        ours = os.pathsep.join([tools, os.fspath(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        cache = {"IMGSTREAM_CACHE": os.fspath(self._folder / "cache"), "PYTHONPATH": ours}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **quiet, **cache},
            start_new_session=True,  # a Ctrl-C is for the parent
        )
        self._base, self._overhead = 0.0, {"python": 0.0, "tf": 0.0}
        if self._warm_up is None:
            return
        patient = Limits(math.inf, math.inf, _STARTING, _STARTING)
        self._ask(*self._warm_up, patient)  # what is imported, and the first graph, take seconds
        answer = self._ask(*self._warm_up, patient)
        if isinstance(answer, Trial) or answer["findings"]:
            self.close()
            raise RuntimeError(f"a child cannot even read files that are whole: {answer}")
        self._base = answer["megabytes"]
        self._overhead = {pipeline: seconds for pipeline, (seconds, _) in answer["costs"].items()}

    def _ask(self, folder: Path, names: Sequence[str], setting: Setting, limits: Limits) -> dict[str, Any] | Trial:
        """The child's answer, or what became of it."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        task = {"folder": os.fspath(folder), "names": list(names), "setting": setting}
        try:
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            pass  # it is gone: its end says how
        began = used = cpu(process.pid)
        before = most = memory("VmRSS", process.pid)
        at = ""
        heard = awake = time.monotonic()
        while True:
            answer = self._answer()
            now = time.monotonic()
            if self._is_over:
                self.close()
                raise Over
            if answer is not None and "at" in answer:
                at, heard, used = answer["at"], now, cpu(process.pid)
            elif answer is not None:
                return answer
            elif process.poll() is not None:
                return self._ended(_died(process.returncode, self._last_words(), at), used - began, self._base + most - before)
            else:
                most = max(most, memory("VmRSS", process.pid))
                worked = cpu(process.pid) - used
                if is_at_work(process.pid):
                    awake = now
                sign, said = at.partition(" ")[0], f"at {at or 'its beginning'}"
                peak = self._base + most - before
                if peak > limits.megabytes * _SURELY:
                    text = f"{peak:,.0f} MB and rising, {limits.megabytes:.0f} allowed ({said})"
                    return self._ended(Finding("", "memory", sign, text), used + worked - began, peak)
                if now - heard > limits.silent or now - max(heard, awake) > limits.idle:
                    text = f"silent for {now - heard:.1f} s, of which it worked {worked:.1f} ({said})"
                    kind = "time" if worked > limits.seconds else "hang"
                    return self._ended(Finding("", kind, sign, text), used + worked - began, peak)

    def _answer(self) -> dict[str, Any] | None:
        """The next line of the child's, if it comes within a tick."""
        assert self._process is not None
        assert self._process.stdout is not None
        if b"\n" not in self._unread:
            if select.select([self._process.stdout], [], [], _TICK)[0]:
                self._unread += os.read(self._process.stdout.fileno(), 1 << 20)
            if b"\n" not in self._unread:
                return None
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _judged(self, answer: dict[str, Any], limits: Limits) -> Trial:
        costs = {pipeline: Cost(*cost) for pipeline, cost in answer["costs"].items()}
        findings = [Finding(*finding) for finding in answer["findings"]]
        whole = next((finding for finding in findings if not finding.name), None)
        took, slowest = max((cost.seconds - self._overhead[pipeline], pipeline) for pipeline, cost in costs.items())
        rise, largest = max((cost.megabytes, pipeline) for pipeline, cost in costs.items())
        peak = self._base + rise
        if whole is None and peak > limits.megabytes:
            whole = Finding("", "memory", largest, f"{largest}: {peak:,.0f} MB, {limits.megabytes:.0f} allowed")
        if whole is None and took > limits.seconds:
            whole = Finding("", "time", slowest, f"{slowest}: {took:.1f} s of a core, {limits.seconds:.0f} allowed")
        if self._base and answer["megabytes"] > self._base + _GROWN:
            self.close()
        return Trial([finding for finding in findings if finding.name], whole, max(0.0, took), peak)

    def _ended(self, why: Finding, seconds: float, megabytes: float) -> Trial:
        self.close()
        return Trial([], why, seconds, megabytes)

    def _last_words(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        return " ".join(self._errors.read()[-2000:].decode("utf-8", "replace").split())[-300:]


def _died(code: int, words: str, at: str) -> Finding:
    name = signal.Signals(-code).name if code < 0 else f"exit {code}"
    return Finding("", "crash", name, f"{name} (at {at or 'its beginning'}) {words}")
