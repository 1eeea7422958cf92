from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imgstream.cli import main

COPIES = 15
"""600 rows: five batches."""


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture
def listed(two_classes: Path, tmp_path: Path) -> Path:
    """The images of two_classes many times over, with a file that is none."""
    (tmp_path / "no image.jpg").write_bytes(b"<html>")
    paths = sorted(map(str, two_classes.rglob("*.jpg")))
    manifest = tmp_path / "list.csv"
    manifest.write_text("\n".join(["path", *paths * COPIES, str(tmp_path / "no image.jpg"), *paths]) + "\n")
    return manifest


@pytest.mark.slow
def test_ray_writes_what_the_plain_command_writes_to_the_byte_also_when_it_was_stopped_and_goes_on(
    capsys: pytest.CaptureFixture[str],
    trained: Path,
    listed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stopped_after: Callable[[int], contextlib.AbstractContextManager[None]],
) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.setenv("RAY_ADDRESS", "local")  # a cluster that somebody else has started here is left alone
    what = "predict", trained, listed, "--allow-outside", "--top-k", 2
    assert run(capsys, *what, "-o", tmp_path / "plain.csv")[0] == 0
    on_ray = *what, "-o", tmp_path / "ray.csv", "--on", "ray", "--parts", 2
    with stopped_after(2):
        assert run(capsys, *on_ray)[0] == 130
    assert not (tmp_path / "ray.csv").exists()
    code, out, err = run(capsys, *on_ray, "--json")
    assert (code, "Ray: 2 workers of 1 core on 1 machine" in err) == (0, True), err
    summary = json.loads(out)
    assert (summary["rows"], summary["bad"], summary["reused"]) == (641, 1, 256)
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()


def test_parts_and_clusters_that_make_no_sense_are_wrong_arguments(
    capsys: pytest.CaptureFixture[str], trained: Path, two_classes: Path, tmp_path: Path
) -> None:
    what = "predict", trained, two_classes, "-o", tmp_path / "p.csv"
    code, _, err = run(capsys, *what, "--parts", 2)
    assert (code, "give it with --on ray" in err) == (2, True)
    code, _, err = run(capsys, *what, "--on", "spark")
    assert (code, "'spark' is no cluster; give ray, or ray://HOST:PORT" in err) == (2, True)
