from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from imgstream.errors import OptionError
from imgstream.training.processes.group import joined

SCRIPT = """
import os, sys
import imgstream.models.cnn
imgstream.models.cnn.WIDTHS = (8,)
import keras
import imgstream as ims
from imgstream.training.schedule import Clock

class Dying(keras.callbacks.Callback):
    steps = 0

    def on_train_batch_end(self, batch, logs):
        self.steps += 1
        if os.environ.get("DIES_AT") == str(self.steps):
            os._exit(9)

photos, out = sys.argv[1:]
try:
    options = {"size": (32, 32), "batch_size": 8, "augment": "light", "precision": "float32", "checkpoint_every": "2steps"}
    options |= {"minutes": 30} if "CLOCK" in os.environ else {"epochs": 3}
    steps = Dying()
    Clock.is_over = lambda clock, now: steps.steps >= int(os.environ["CLOCK"])
    ims.train(photos, out=out, resume=True, callbacks=[steps], **options)
    if "CLOCK" in os.environ:
        print(steps.steps)
except ims.errors.ClusterError as error:
    print(error, flush=True)
    os._exit(1)
"""


def training(photos: Path, out: Path, processes: int, dies_at: str = "", clocks: Sequence[str] = ()) -> list[tuple[int, str]]:
    """Exit code and output of each process of a training; the last one dies at that step. `clocks`: train by the clock, which in each
    process says after so many steps that the time is over.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    common = os.environ | {"KERAS_BACKEND": "jax", "KERAS_DISTRIBUTION_JOB_ADDRESSES": address}
    common["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(processes)
    running = []
    for rank in range(processes):
        environment = common | {"KERAS_DISTRIBUTION_PROCESS_ID": str(rank), "DIES_AT": dies_at if rank == processes - 1 else ""}
        environment |= {"CLOCK": clocks[rank]} if clocks else {}
        command = [sys.executable, "-c", SCRIPT, str(photos), str(out)]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return [(process.returncode, text) for process in running for text in [process.communicate(timeout=300)[0]]]


def history(out: Path) -> list[list[float]]:
    """The losses and accuracies of each epoch."""
    with (out / "history.csv").open(newline="") as file:
        return [[float(row[name]) for name in ("epoch", "step", "loss", "accuracy", "val_loss")] for row in csv.DictReader(file)]


@pytest.mark.slow
def test_two_processes_train_as_one_and_when_one_dies_the_other_says_so_and_one_alone_goes_on(two_classes: Path, tmp_path: Path) -> None:
    assert training(two_classes, tmp_path / "one", 1) == [(0, "")]
    (first, said), (second, _) = training(two_classes, tmp_path / "two", 2, dies_at="8")
    assert (first, second) == (1, 9)
    assert "another process of this training has ended, and says why" in said
    assert len(history(tmp_path / "two")) == 1
    assert training(two_classes, tmp_path / "two", 1) == [(0, "")]
    for ours, expected in zip(history(tmp_path / "two"), history(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_with_minutes_the_first_process_has_the_clock_and_all_take_as_many_steps(two_classes: Path, tmp_path: Path) -> None:
    (first, steps), (second, others) = training(two_classes, tmp_path / "run", 2, clocks=("11", "2"))
    assert (first, second, steps, others) == (0, 0, "11\n", "11\n")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["steps"] == 11


@pytest.fixture
def not_joined() -> Iterator[None]:
    """Nothing is remembered of the environment before, nor of this test's."""
    joined.cache_clear()
    yield
    joined.cache_clear()


@pytest.mark.usefixtures("not_joined")
@pytest.mark.parametrize(
    ("count", "rank", "address", "said"),
    [
        ("two", "0", "host:1", "must be a number of processes; it is 'two'"),
        ("2", "2", "host:1", "KERAS_DISTRIBUTION_PROCESS_ID must be a number below it"),
        ("2", "0", "", "HOST:PORT of process 0; they are '0' and ''"),
        ("2", "0", "host:1", r"on JAX only: set KERAS_BACKEND=jax \(it is tensorflow\)"),
    ],
)
def test_an_environment_that_describes_no_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, count: str, rank: str, address: str, said: str
) -> None:
    for name, value in (("NUM_PROCESSES", count), ("PROCESS_ID", rank), ("JOB_ADDRESSES", address)):
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(OptionError, match=said):
        joined()
