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

from fuzzing.cases import Setting
from fuzzing.judge import Cost, Finding, memory

COMMAND = (sys.executable, "-m", "fuzzing.serve")

SECONDS = 2.0
"""Of one core that a file may take for every 64 kB, in either pipeline."""
MEGABYTES = 900.0
"""That the process may take, import of TensorFlow included."""
_UNIT = 64 << 10
_SILENT, _IDLE = 30.0, 6.0
"""Seconds without a batch after which a child hangs: while it is at work, and while it does nothing at all."""
_STARTING = 180.0
_SURELY = 1.5
"""Times the limit of memory at which a child is ended rather than waited for."""
_GROWN = 150.0
"""MB above what it began with at which a child is replaced: graphs of passes that are over stay with TensorFlow."""
_TICK = 0.1


class Trial(NamedTuple):
    """What came of some files."""

    findings: list[Finding]
    whole: Finding | None
    """What is wrong with the pass, if it is: crash hang memory time error."""
    seconds: float
    megabytes: float
    """What a fresh process would have taken at its peak."""


class Child:
    """Starts a process when there is something to try, and another one when that is gone."""

    def __init__(self, folder: Path, warm_up: tuple[Path, list[str], Setting] | None, command: Sequence[str] = COMMAND) -> None:
        """`folder`: of its own, for its cache. `warm_up`: files that are no trouble, tried by each process before others, so that what is
        loaded once counts for no file.
        """
        self._folder, self._warm_up, self._command = folder, warm_up, list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._unread = b""
        self._base, self._overhead = 0.0, {"python": 0.0, "tf": 0.0}

    def attempt(self, folder: Path, names: Sequence[str], setting: Setting) -> Trial:
        """Have files judged. Raises RuntimeError when no child can be started."""
        if self._process is None:
            self._start()
        units = max(math.ceil(max(1, (folder / name).stat().st_size) / _UNIT) for name in names)
        return self._ask(folder, names, setting, SECONDS * units)

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
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "2"}
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
        for round_ in range(2 if self._warm_up is not None else 0):
            assert self._warm_up is not None
            trial = self._ask(*self._warm_up, math.inf, _STARTING, remember=round_ == 1)
            if trial.whole is not None or trial.findings:
                self.close()
                raise RuntimeError(f"a child cannot even judge files that are whole: {trial.whole or trial.findings[0]}")

    def _ask(
        self, folder: Path, names: Sequence[str], setting: Setting, seconds: float, silent: float = _SILENT, remember: bool = False
    ) -> Trial:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        base, used = self._base, _cpu(process.pid)
        task = {"folder": os.fspath(folder), "names": list(names), "setting": setting}
        try:
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            pass  # it is gone: that is what its end says
        at, heard, rss = "", time.monotonic(), 0.0
        busy = used
        while True:
            answer = self._answer()
            now = time.monotonic()
            if answer is not None and "at" in answer:
                at, heard, busy = answer["at"], now, _cpu(process.pid)
            elif answer is not None:
                return self._judged(answer, seconds, remember)
            elif process.poll() is not None:
                return self._ended(_died(process.returncode, self._last_words(), at), 0.0, rss)
            else:
                rss, cpu = max(rss, _memory(process.pid)), _cpu(process.pid)
                if base and rss > MEGABYTES * _SURELY:
                    text = f"{rss:,.0f} MB and rising, {MEGABYTES:.0f} allowed (at {at or 'its beginning'})"
                    return self._ended(Finding("", "memory", at.split(" ")[0], text), cpu - used, rss)
                if now - heard > silent or (silent == _SILENT and now - heard > _IDLE and cpu - busy < 0.01 * (now - heard)):
                    text = f"silent for {now - heard:.0f} s, of which it worked {cpu - busy:.1f} (at {at or 'its beginning'})"
                    kind = "time" if cpu - busy > 0.3 * (now - heard) else "hang"
                    return self._ended(Finding("", kind, at.split(" ")[0], text), cpu - used, rss)

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

    def _judged(self, answer: dict[str, Any], seconds: float, remember: bool) -> Trial:
        costs = {pipeline: Cost(*cost) for pipeline, cost in answer["costs"].items()}
        if remember:
            self._base, self._overhead = answer["megabytes"], {pipeline: cost.seconds for pipeline, cost in costs.items()}
        findings = [Finding(*finding) for finding in answer["findings"]]
        whole = next((finding for finding in findings if not finding.name), None)
        slowest = max(costs, key=lambda pipeline: costs[pipeline].seconds - self._overhead[pipeline])
        most = max(costs, key=lambda pipeline: costs[pipeline].megabytes)
        took, peak = costs[slowest].seconds - self._overhead[slowest], self._base + costs[most].megabytes
        if whole is None and peak > MEGABYTES:
            whole = Finding("", "memory", most, f"{most}: {peak:,.0f} MB, {MEGABYTES:.0f} allowed")
        if whole is None and took > seconds:
            whole = Finding("", "time", slowest, f"{slowest}: {took:.1f} s of a core, {seconds:.0f} allowed")
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


def _cpu(pid: int) -> float:
    """Seconds of a core that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


def _memory(pid: int) -> float:
    try:
        return memory("VmRSS", pid)
    except OSError:
        return 0.0
