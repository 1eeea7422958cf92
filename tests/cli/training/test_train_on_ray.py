from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from imgstream.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def kill_second_process(out: Path, over: threading.Event) -> None:
    """Kill process 1 of the training that writes `out` once it has a checkpoint."""
    while not over.is_set() and not any((out / "checkpoints").glob("*")):
        time.sleep(0.05)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_second = b"KERAS_DISTRIBUTION_PROCESS_ID=1\0" in (process / "environ").read_bytes()
            if is_second and os.fsencode(out) in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


@pytest.mark.slow
def test_processes_on_ray_train_as_one_a_dead_one_is_told_of_and_the_same_command_goes_on(
    capsys: pytest.CaptureFixture[str], two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.setenv("RAY_ADDRESS", "local")  # a cluster that somebody else has started here is left alone
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    out = tmp_path / "run"
    how = "--size", 32, "--model", "cnn-small", "--epochs", 8, "--batch-size", 8, "--checkpoint-every", "1steps", "--no-report"
    command = "train", two_classes, "--out", out, *how, "--resume", "--json", "--on", "ray"
    over = threading.Event()
    killer = threading.Thread(target=kill_second_process, args=(out, over))
    killer.start()
    code, _, err = run(capsys, *command, "--replicas", 2)
    over.set()
    killer.join()
    assert (code, "Ray: 2 workers of 1 core on 1 machine" in err) == (1, True), err
    assert "process 1 of 2" in err
    assert "was ended by SIGKILL, and the others with it. With --resume the same command goes on" in err
    code, said, err = run(capsys, *command, "--replicas", 1)
    assert code == 0, err
    summary = json.loads(said)
    assert summary["resumed_from_step"] > 0
    assert (summary["epochs"], summary["steps"]) == (8, summary["resumed_from_step"] + summary["steps_run"])


def test_replicas_and_clusters_that_make_no_sense_are_wrong_arguments(
    capsys: pytest.CaptureFixture[str], two_classes: Path, tmp_path: Path
) -> None:
    what = "train", two_classes, "--out", tmp_path / "run"
    for more, said in (
        (("--replicas", 2), "give it with --on ray"),
        (("--on", "ray", "--dry-run"), "leave out --dry-run"),
        (("--on", "ray", "--fold", "all"), "give --fold 1/5 and not all"),
    ):
        code, _, err = run(capsys, *what, *more)
        assert (code, said in " ".join(err.replace("│", " ").split())) == (2, True), err
    assert not (tmp_path / "run").exists()
