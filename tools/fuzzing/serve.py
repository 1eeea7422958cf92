"""A child process: judges one folder after another as it is told on stdin, a JSON object a line, and answers on stdout."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzzing.messages import Setting, Verdict
from fuzzing.processes import memory

Judge = Callable[[Path, Sequence[str], Setting, Callable[[str], None]], Verdict]


def serve(judged: Judge) -> None:
    """Answer until stdin ends. Each answer is any number of {"at": …} and a {"findings", "costs", "megabytes"}."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a decoder prints is no answer
    tasks: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    while True:
        task = json.loads(tasks.get())
        size, *setting = task["setting"]
        verdict = judged(
            Path(task["folder"]), task["names"], Setting(tuple(size), *setting), lambda at: print(json.dumps({"at": at}), file=answers)
        )
        costs = {"python": verdict.python, "tf": verdict.tf}
        print(json.dumps({"findings": verdict.findings, "costs": costs, "megabytes": memory("VmRSS")}), file=answers)


def _listen(tasks: queue.SimpleQueue[str]) -> None:
    """A parent that is gone, however it went, takes its children along, even those that hang."""
    for line in sys.stdin:
        tasks.put(line)
    os._exit(0)


if __name__ == "__main__":
    sys.modules["jax"] = None  # type: ignore[assignment]  # installed for tests alone: TensorFlow would import it, some 100 MB
    from fuzzing.judge import judge

    serve(judge)
