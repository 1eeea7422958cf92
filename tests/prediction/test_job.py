from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.errors import BadImage, OutputError, RunError
from imgstream.index import ImageIndex
from imgstream.prediction.job import Summary, batch_size_for, merge_stores, predict_into, write_output
from imgstream.prediction.scorer import Scored
from imgstream.prediction.store import Plan, PredictionStore, store_path

CLASSES = [f"class {i}" for i in range(7)]
IDENTITY: dict[str, Any] = {"runs": ["a-run"], "tta": None}
SIZE = 4


class Stopped(BaseException):
    """As a Ctrl-C, in a test that must not be taken for one."""


class Slotted:
    """Scores that tell whether batches are what they were: they depend on the image, its place in the batch, and the images beside it.

    A file holds a number: its best class is number % 7. Other contents are bad. Stops before the `stop`-th batch.
    """

    class_names = CLASSES

    def __init__(self, stop: int | None = None, batch_size: int = SIZE) -> None:
        self.batch_size, self._stop, self.read = batch_size, stop, 0

    def batches(self, index: ImageIndex, workers: int | None, pipeline: str) -> Iterator[Scored]:
        for number, start in enumerate(range(0, len(index), self.batch_size)):
            if number == self._stop:
                raise Stopped
            places, values, bad = [], [], []
            for position in range(start, min(start + self.batch_size, len(index))):
                self.read += 1
                try:
                    values.append(int(Path(index.path(position)).read_bytes() or b"no number"))
                    places.append(position)
                except FileNotFoundError:
                    bad.append((position, BadImage("missing", "No such file or directory")))
                except ValueError:
                    bad.append((position, BadImage("wrong kind", "no number")))
            scores = np.zeros((len(places), len(CLASSES)), np.float32)
            for slot, value in enumerate(values):
                scores[slot] = (sum(values) % 89 + 1) / 1000, *((np.arange(1, 7) + slot) / 100)
                scores[slot, value % 7] = 0.5 + value / 1e4
            yield Scored(np.array(places, np.int64), scores, bad, np.zeros((len(places), 1, 1, 1), np.float32))


def predict(
    index: ImageIndex,
    output: Path,
    *,
    scorer: Slotted | None = None,
    stop_after: int | None = None,
    shard: tuple[int, int] = (0, 1),
    fresh: bool = False,
    top_k: int = 3,
    min_score: float = 0.0,
    ranks: int = 5,
    identity: dict[str, Any] | None = None,
) -> tuple[Plan, Summary]:
    """As the command does it; `stop_after` so many batches were recorded."""
    seen = 0

    def count(batch: Scored) -> None:
        nonlocal seen
        seen += 1
        if seen == stop_after:
            raise Stopped

    with PredictionStore(store_path(output), identity or IDENTITY, ranks=ranks, fresh=fresh) as store:
        if store.get("batch_size") is None:
            store.set("class_names", CLASSES)
            store.set("batch_size", SIZE)
        plan = store.plan(index, SIZE, shard)
        summary = predict_into(store, scorer or Slotted(), index, plan, seen=count)  # type: ignore[arg-type]
        for _ in write_output(store, output, CLASSES, top_k, min_score):
            pass
    return plan, summary


def listed(root: Path) -> ImageIndex:
    return ImageIndex.from_paths(sorted(os.listdir(os.fsencode(root))), root=root)


def rows_of(output: Path) -> list[dict[str, str]]:
    with open(output, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A folder of 22 files, some of them bad: five full batches and one of two; the third batch is all bad."""
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(22):
        (root / f"{i:03}.jpg").write_text("<html>" if i in (1, 8, 9, 10, 11, 21) else str(i * i))
    return root


@pytest.fixture
def undisturbed(numbers: Path, tmp_path: Path) -> bytes:
    predict(listed(numbers), tmp_path / "undisturbed.csv")
    return (tmp_path / "undisturbed.csv").read_bytes()


def test_every_file_gets_one_row_in_index_order(numbers: Path, undisturbed: bytes, tmp_path: Path) -> None:
    plan, summary = predict(listed(numbers), tmp_path / "out.csv")
    assert plan == Plan(rows=22, planned=22, added=22, changed=0, removed=0)
    assert (summary.rows, summary.ok, summary.bad, summary.decoded, summary.reused) == (22, 16, 6, 22, 0)
    assert (tmp_path / "out.csv").read_bytes() == undisturbed
    rows = rows_of(tmp_path / "out.csv")
    assert [row["path"] for row in rows] == [f"{i:03}.jpg" for i in range(22)]
    assert rows[1]["error"] == "wrong kind: no number"
    assert rows[1]["label"] == rows[1]["score"] == rows[1]["label_2"] == ""
    assert [rows[5][name] for name in ("label", "score", "error")] == ["class 4", "0.502500", ""]


@pytest.mark.parametrize(
    ("done", "how"),
    [(min(SIZE * n, 22), {"scorer": Slotted(stop=n)}) for n in range(6)] + [(min(SIZE * n, 22), {"stop_after": n}) for n in range(1, 7)],
)
def test_however_it_is_interrupted_the_same_command_goes_on_to_the_same_bytes(
    numbers: Path, undisturbed: bytes, tmp_path: Path, done: int, how: dict[str, Any]
) -> None:
    output, index = tmp_path / "out.csv", listed(numbers)
    with pytest.raises(Stopped):
        predict(index, output, **how)
    assert not output.exists()
    plan, summary = predict(index, output)
    assert output.read_bytes() == undisturbed
    assert (plan.planned, summary.decoded, summary.reused) == (22 - done, 22 - done, done)


def test_stopping_after_every_single_batch_changes_nothing(numbers: Path, undisturbed: bytes, tmp_path: Path) -> None:
    output, index = tmp_path / "out.csv", listed(numbers)
    for _ in range(6):
        with pytest.raises(Stopped):
            predict(index, output, stop_after=1)
    _, summary = predict(index, output)
    assert (summary.decoded, summary.reused) == (0, 22)
    assert output.read_bytes() == undisturbed


_KILLED = """
import sys, time
from pathlib import Path
from imgstream.prediction.job import predict_into
from imgstream.prediction.store import PredictionStore
sys.path.insert(0, {tests!r})
from test_job import CLASSES, IDENTITY, SIZE, Slotted, listed

class Slow(Slotted):
    def batches(self, *arguments):
        for number, batch in enumerate(super().batches(*arguments)):
            if number == {at}:
                print("here", flush=True)
                time.sleep(60)
            yield batch

index = listed(Path({root!r}))
with PredictionStore(Path({store!r}), IDENTITY, ranks=5) as store:
    store.set("class_names", CLASSES)
    store.set("batch_size", SIZE)
    predict_into(store, Slow(), index, store.plan(index, SIZE))
"""


@pytest.mark.parametrize("at", [0, 3])
def test_a_process_that_is_killed_loses_at_most_the_batch_it_was_at(numbers: Path, undisturbed: bytes, tmp_path: Path, at: int) -> None:
    output = tmp_path / "out.csv"
    code = _KILLED.format(tests=str(Path(__file__).parent), at=at, root=str(numbers), store=str(store_path(output)))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        with pytest.raises(OutputError, match="another process"):  # neither may undo what the other does
            predict(listed(numbers), output)
        with pytest.raises(OutputError, match="another process"):
            predict(listed(numbers), output, fresh=True)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    plan, summary = predict(listed(numbers), output)
    assert plan.added == 0
    assert (summary.decoded, summary.reused) == (22 - SIZE * at, SIZE * at)
    assert output.read_bytes() == undisturbed


def test_later_only_new_and_changed_files_are_read_and_removed_ones_leave(numbers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    predict(listed(numbers), output)
    before = {row["path"]: row for row in rows_of(output)}
    (numbers / "000a.jpg").write_text("6")
    (numbers / "zzz.jpg").write_text("5")
    (numbers / "003.jpg").write_text("1234")
    (numbers / "001.jpg").write_text("3")  # it was bad
    (numbers / "020.jpg").unlink()
    scorer = Slotted()
    plan, summary = predict(listed(numbers), output, scorer=scorer)
    assert plan == Plan(rows=23, planned=4, added=2, changed=2, removed=1)
    assert (summary.decoded, summary.reused, scorer.read) == (4, 19, 4)
    after = rows_of(output)
    assert [row["path"] for row in after] == sorted(os.listdir(numbers))
    found = {row["path"]: row for row in after}
    assert [found[name]["label"] for name in ("000a.jpg", "zzz.jpg", "003.jpg", "001.jpg")] == ["class 6", "class 5", "class 2", "class 3"]
    others = set(before) - {"003.jpg", "001.jpg", "020.jpg"}
    assert {name: found[name] for name in others} == {name: before[name] for name in others}


def test_a_file_of_the_same_size_and_time_is_taken_for_the_same(numbers: Path, tmp_path: Path) -> None:
    output, file = tmp_path / "out.csv", numbers / "004.jpg"
    predict(listed(numbers), output)
    before, status = output.read_bytes(), file.stat()
    file.write_text("17")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert predict(listed(numbers), output)[1].decoded == 0
    assert output.read_bytes() == before
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert predict(listed(numbers), output)[1].decoded == 1
    assert rows_of(output)[4]["label"] == "class 3"


def test_faults_of_the_place_are_tried_again_and_faults_of_the_file_are_not(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    reasons = ["missing", "no permission", "read error", "corrupt", "empty", "truncated", "unsupported", "too large", "wrong kind"]
    for reason in reasons:
        (tmp_path / f"{reason}.jpg").write_text("5")

    class Faulty(Slotted):
        def batches(self, index: ImageIndex, workers: int | None, pipeline: str) -> Iterator[Scored]:
            for start in range(0, len(index), SIZE):
                part = range(start, min(start + SIZE, len(index)))
                bad = [(i, BadImage(Path(index.path(i)).stem, "it is so")) for i in part]
                yield Scored(np.zeros(0, np.int64), np.zeros((0, 7), np.float32), bad, np.zeros((0, 1, 1, 1), np.float32))

    index = ImageIndex.from_paths([f"{reason}.jpg" for reason in reasons], root=tmp_path)
    predict(index, output, scorer=Faulty())
    assert [row["error"] for row in rows_of(output)] == [f"{reason}: it is so" for reason in reasons]
    plan, summary = predict(index, output)
    assert (plan.planned, summary.decoded) == (3, 3)
    assert [row["label"] for row in rows_of(output)] == ["class 5"] * 3 + [""] * 6


def test_a_missing_file_that_comes_back_is_predicted(numbers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    index = ImageIndex.from_paths(["000.jpg", "later.jpg"], root=numbers)
    for _ in range(2):
        assert predict(index, output)[1].bad == 1
    assert rows_of(output)[1]["error"] == "missing: No such file or directory"
    (numbers / "later.jpg").write_text("3")
    assert predict(index, output)[1].bad == 0
    assert rows_of(output)[1]["label"] == "class 3"


def test_a_path_that_is_given_twice_has_two_rows(numbers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    paths = ["002.jpg", "003.jpg", "002.jpg", "001.jpg", "002.jpg", "001.jpg"]
    with pytest.raises(Stopped):
        predict(ImageIndex.from_paths(paths, root=numbers), output, stop_after=1)
    _, summary = predict(ImageIndex.from_paths(paths, root=numbers), output)
    assert (summary.decoded, summary.reused) == (2, 4)
    assert [row["path"] for row in rows_of(output)] == paths
    fewer = ["000.jpg", "002.jpg", "002.jpg"]
    plan, summary = predict(ImageIndex.from_paths(fewer, root=numbers), output)
    assert (plan.added, plan.removed, summary.decoded) == (1, 4, 1)
    assert [row["path"] for row in rows_of(output)] == fewer
    assert [row["label"] for row in rows_of(output)] == ["class 0", "class 4", "class 4"]


def test_names_of_any_bytes_come_through(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    names = [b"a\nb.jpg", b"caf\xc3\xa9.jpg", b"d,\"'.jpg", b"\xff\xfe.jpg", b"\xff\xfd.jpg"]
    for i, name in enumerate(names):
        (root / os.fsdecode(name)).write_text(str(i))
    for _ in range(2):
        _, summary = predict(ImageIndex.from_paths(names, root=root), tmp_path / "out.csv")
        rows = rows_of(tmp_path / "out.csv")
        assert [row["path"] for row in rows] == ["a\nb.jpg", "café.jpg", "d,\"'.jpg", "\ufffd\ufffd.jpg", "\ufffd\ufffd.jpg"]
        assert [row["label"] for row in rows] == [f"class {i}" for i in range(5)]
        assert len({row["path_b64"] for row in rows}) == 3  # none, and two
    assert summary.decoded == 0


changes = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 40), st.integers(0, 999)),
    st.tuples(st.just("add a bad one"), st.integers(0, 40), st.just(0)),
    st.tuples(st.just("remove"), st.integers(0, 40), st.just(0)),
    st.tuples(st.just("stop"), st.integers(1, 5), st.just(0)),
    st.tuples(st.just("finish"), st.just(0), st.just(0)),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(changes, min_size=1, max_size=12))
def test_whatever_happens_to_the_folder_the_output_holds_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    base = tmp_path_factory.mktemp("life")
    root, output = base / "photos", base / "out.csv"
    root.mkdir()
    clock = 10**18  # a clock that never gives two files the same time
    for i in range(18):
        (root / f"{i * 2:02}.jpg").write_text(str(i))
    for what, number, value in [*steps, ("finish", 0, 0)]:
        file = root / f"{number:02}.jpg"
        if what.startswith("add"):
            clock += 1
            file.write_text(str(value) if what == "add" else "bad")
            os.utime(file, ns=(clock, clock))
        elif what == "remove" and len(os.listdir(root)) > 1:
            file.unlink(missing_ok=True)
        elif what == "stop":
            try:
                predict(listed(root), output, stop_after=number)
            except Stopped:
                continue
        if what == "finish":
            predict(listed(root), output)
            rows = rows_of(output)
            assert [row["path"] for row in rows] == sorted(os.listdir(root))
            for row in rows:
                contents = (root / row["path"]).read_text()
                expected = ("", "", "wrong kind: no number") if contents == "bad" else (f"class {int(contents) % 7}", None, "")
                assert (row["label"], row["error"]) == (expected[0], expected[2])
                if contents != "bad":
                    assert row["score"] == f"{np.float32(0.5 + int(contents) / 1e4):.6f}"
            before = output.read_bytes()
            assert predict(listed(root), output)[1].decoded == 0
            assert output.read_bytes() == before


@settings(max_examples=25, deadline=None)
@given(first=st.integers(1, 21), stops=st.lists(st.integers(1, 3), max_size=5), touched=st.sets(st.integers(0, 21)))
def test_after_a_change_too_the_bytes_do_not_depend_on_interruptions(
    tmp_path_factory: pytest.TempPathFactory, first: int, stops: list[int], touched: set[int]
) -> None:
    base = tmp_path_factory.mktemp("twice")
    root = base / "photos"
    root.mkdir()
    outputs = [base / "calm.csv", base / "stopped.csv"]
    for i in range(first):
        (root / f"{i:02}.jpg").write_text(str(i))
    for output in outputs:
        predict(listed(root), output)
    for i in touched:
        (root / f"{i:02}.jpg").write_text(str(1000 + i))
    predict(listed(root), outputs[0])
    for stop in stops:
        try:
            predict(listed(root), outputs[1], stop_after=stop)
        except Stopped:
            continue
    predict(listed(root), outputs[1])
    assert outputs[1].read_bytes() == outputs[0].read_bytes()


def test_another_run_or_way_of_predicting_is_told_and_needs_fresh(numbers: Path, tmp_path: Path) -> None:
    output, index = tmp_path / "out.csv", listed(numbers)
    predict(index, output)
    before = output.read_bytes()
    for other, words in (
        ({"identity": {**IDENTITY, "runs": ["b-run"]}}, "another run, or a run that was trained again"),
        ({"identity": {**IDENTITY, "runs": ["a-run", "b-run"]}}, "another run"),
        ({"identity": {**IDENTITY, "tta": "flip"}}, "tta was None and is 'flip'"),
        ({"ranks": 6}, "keeps the 5 best classes of each image, and 6 are asked for"),
    ):
        with pytest.raises(RunError, match=words) as told:
            predict(index, output, **other)  # type: ignore[arg-type]
        assert "--fresh" in str(told.value)
        assert "\n" not in str(told.value)
    assert output.read_bytes() == before
    assert predict(index, output)[1].decoded == 0  # what is there was left alone
    plan, summary = predict(index, output, identity={**IDENTITY, "runs": ["b-run"]}, ranks=6, fresh=True)
    assert (plan.added, summary.decoded, summary.reused) == (22, 22, 0)


def test_other_forms_of_the_output_need_no_prediction(numbers: Path, tmp_path: Path) -> None:
    output, index = tmp_path / "out.csv", listed(numbers)
    predict(index, output, top_k=5)
    five = rows_of(output)
    for top_k, ranks in ((1, 5), (3, 3), (5, 5)):
        assert predict(index, output, top_k=top_k, ranks=ranks)[1].decoded == 0
        columns = [name for name in five[0] if not name[-1].isdigit() or int(name[-1]) <= top_k]
        assert rows_of(output) == [{name: row[name] for name in columns} | {"path_b64": ""} for row in five]
    assert predict(index, output, min_score=0.51)[1].decoded == 0
    assert [row["label"] for row in rows_of(output)] == [
        "unsure" if row["score"] and float(row["score"]) < 0.51 else row["label"] for row in five
    ]
    assert [row["score"] for row in rows_of(output)] == [row["score"] for row in five]
    shutil.copy(store_path(output), store_path(tmp_path / "out.jsonl"))
    assert predict(index, tmp_path / "out.jsonl")[1].decoded == 0


def test_an_image_that_the_model_is_not_sure_of_keeps_its_score_and_its_best_classes(numbers: Path, tmp_path: Path) -> None:
    index = ImageIndex.from_paths(["002.jpg", "001.jpg", "020.jpg"], root=numbers)
    for extension in ("csv", "jsonl", "parquet"):
        predict(index, tmp_path / f"out.{extension}", top_k=2, min_score=0.52)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == ["unsure", None, "class 1"]
    assert [[best["label"] for best in line["top_k"]] for line in lines] == [["class 4", "class 6"], [], ["class 1", "class 6"]]
    assert lines[0]["score"] == lines[0]["top_k"][0]["score"] == 0.5004
    table = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert table["label"] == ["unsure", None, "class 1"]
    assert table["label_2"] == ["class 6", None, "class 6"]
    assert table["score"] == [float(np.float32(0.5004)), None, float(np.float32(0.54))]
    assert [row["label"] for row in rows_of(tmp_path / "out.csv")] == ["unsure", "", "class 1"]
    assert [row["label_2"] for row in rows_of(tmp_path / "out.csv")] == ["class 6", "", "class 6"]


def test_of_equal_scores_the_first_class_is_the_label(numbers: Path, tmp_path: Path) -> None:
    class Level(Slotted):
        def batches(self, *arguments: Any) -> Iterator[Scored]:
            for batch in super().batches(*arguments):
                yield batch._replace(scores=np.full_like(batch.scores, 1 / 7))

    predict(listed(numbers), tmp_path / "out.csv", scorer=Level())
    assert {(row["label"], row["label_2"], row["label_3"]) for row in rows_of(tmp_path / "out.csv") if not row["error"]} == {
        ("class 0", "class 1", "class 2")
    }


def shards(index: ImageIndex, folder: Path, n: int) -> list[Path]:
    """Stores of all shards, in a fixed but odd order."""
    for k in reversed(range(n)):
        predict(index, folder / f"{k}.csv", shard=(k, n))
    return [store_path(folder / f"{k}.csv") for k in (*range(1, n), 0)]


@pytest.mark.parametrize("n", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])
def test_shards_merged_are_one_run_to_the_byte(numbers: Path, tmp_path: Path, n: int, extension: str) -> None:
    index, output = listed(numbers), tmp_path / f"all.{extension}"
    predict(index, tmp_path / f"one.{extension}")
    with merge_stores(shards(index, tmp_path, n), store_path(output)) as store:
        assert store.get("class_names") == CLASSES
        for _ in write_output(store, output, CLASSES, 3):
            pass
    assert output.read_bytes() == (tmp_path / f"one.{extension}").read_bytes()
    plan, summary = predict(index, output)  # a store as any other
    assert (plan.planned, summary.decoded) == (0, 0)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"file:a?mode=ro", b"a b\n'c"])
def test_stores_may_lie_under_any_name(numbers: Path, tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    with merge_stores(shards(listed(numbers), folder, 2), store_path(folder / "all.csv")) as store:
        assert store.counts() == (22, 16, 6)


def test_shards_are_disjoint_and_complete(numbers: Path, tmp_path: Path) -> None:
    index = listed(numbers)
    shards(index, tmp_path, 4)
    paths = [[row["path"] for row in rows_of(tmp_path / f"{k}.csv")] for k in range(4)]
    assert paths[0] == [f"{i:03}.jpg" for i in (0, 1, 2, 3, 16, 17, 18, 19)]
    assert sorted(path for part in paths for path in part) == sorted(os.listdir(numbers))


def test_a_shard_that_was_stopped_goes_on_to_the_same_bytes(numbers: Path, undisturbed: bytes, tmp_path: Path) -> None:
    index, output = listed(numbers), tmp_path / "all.csv"
    for k in range(2):
        with pytest.raises(Stopped):
            predict(index, tmp_path / f"{k}.csv", shard=(k, 2), stop_after=1)
    stores = [store_path(tmp_path / f"{k}.csv") for k in range(2)]
    with pytest.raises(RunError, match=r"0\.csv\.store is not finished: 8 images"):
        merge_stores(stores, store_path(output))
    assert not store_path(output).exists()
    for k in range(2):
        predict(index, tmp_path / f"{k}.csv", shard=(k, 2))
    with merge_stores(stores, store_path(output)) as store:
        for _ in write_output(store, output, CLASSES, 3):
            pass
    assert output.read_bytes() == undisturbed


def test_a_path_that_is_in_several_shards_is_merged_and_goes_on(numbers: Path, tmp_path: Path) -> None:
    paths = [f"{i % 5:03}.jpg" for i in range(14)] + ["003.jpg"] * 8
    index = ImageIndex.from_paths(paths, root=numbers)
    predict(index, tmp_path / "one.csv")
    with merge_stores(shards(index, tmp_path, 3), store_path(tmp_path / "all.csv")) as store:
        for _ in write_output(store, tmp_path / "all.csv", CLASSES, 3):
            pass
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()
    assert predict(index, tmp_path / "all.csv")[0] == Plan(rows=22, planned=0, added=0, changed=0, removed=0)


def test_only_the_finished_shards_of_one_whole_are_merged(numbers: Path, tmp_path: Path) -> None:
    index = listed(numbers)
    third = shards(index, tmp_path, 3)
    (tmp_path / "other").mkdir()
    halves = shards(index, tmp_path / "other", 2)
    predict(index, tmp_path / "b.csv", shard=(2, 3), identity={**IDENTITY, "runs": ["b"]})
    predict(index.take(np.arange(21)), tmp_path / "less.csv", shard=(2, 3))
    copied = Path(shutil.copy(third[0], tmp_path / "copy.csv.store"))
    with PredictionStore(tmp_path / "begun.csv.store", IDENTITY, ranks=5) as begun:  # killed before it listed its files
        begun.set("class_names", CLASSES)
        begun.set("batch_size", SIZE)
    (tmp_path / "text.store").write_text("hello, this is no database of any kind whatever. " * 30)
    target = tmp_path / "all.csv.store"
    for stores, words in (
        (third[:2], "^shard 1/3 is missing: give the store of each of the 3 shards once$"),
        (third[2:], "shards 2/3, 3/3 are missing"),
        ([*third, copied], "^shard 2/3 is given twice: give the store of each of the 3"),
        ([third[0], copied], "^shards 1/3, 3/3 are missing, and shard 2/3 is given twice"),
        ([*third, halves[0]], "different wholes"),
        ([third[2], third[0], store_path(tmp_path / "b.csv")], "no shards of the same run"),
        ([third[2], third[0], store_path(tmp_path / "less.csv")], "no shards of the same files"),
        ([*third, tmp_path / "gone.store"], "gone.store is no prediction store: there is no such file"),
        ([begun.path], "begun.csv.store is not finished"),
        ([tmp_path / "text.store"], "text.store is damaged"),
    ):
        with pytest.raises(RunError, match=words) as told:
            merge_stores(stores, target)
        assert "\n" not in str(told.value)
        assert not target.exists()
    merge_stores([*third, third[0]], target).__exit__()  # named twice, as two globs do


def test_a_merge_asks_for_no_more_classes_than_are_kept(numbers: Path, tmp_path: Path) -> None:
    stores = shards(listed(numbers), tmp_path, 2)
    with pytest.raises(RunError, match=r"keep the 5 best classes of each image, and 7 are asked for.*--top-k 7 --fresh"):
        merge_stores(stores, tmp_path / "all.csv.store", top_k=99)
    predict(listed(numbers), tmp_path / "0.csv", shard=(0, 2), ranks=7, fresh=True)
    with pytest.raises(RunError, match="keep the 5 best classes of each image, and 6"):
        merge_stores(stores, tmp_path / "all.csv.store", top_k=6)
    merge_stores(stores, tmp_path / "all.csv.store", top_k=5).__exit__()


def test_a_shard_of_a_folder_that_changed_is_refused_and_another_shard_is_too(numbers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    with pytest.raises(Stopped):
        predict(listed(numbers), output, shard=(1, 3), stop_after=1)
    with pytest.raises(RunError, match=r"is of shard 2/3, not of 1/3: choose another -o"):
        predict(listed(numbers), output, shard=(0, 3))
    with pytest.raises(RunError, match=r"is of shard 2/3, not of 1/1"):
        predict(listed(numbers), output)
    (numbers / "000a.jpg").write_text("3")
    with pytest.raises(RunError, match=r"are others than when .* was planned.* --fresh"):
        predict(listed(numbers), output, shard=(1, 3))
    (numbers / "000a.jpg").unlink()
    _, summary = predict(listed(numbers), output, shard=(1, 3))  # as if nothing had been
    assert (summary.rows, summary.reused) == (8, 4)


def test_a_file_of_a_shard_that_changes_is_predicted_anew_in_that_shard(numbers: Path, tmp_path: Path) -> None:
    predict(listed(numbers), tmp_path / "out.csv", shard=(1, 3))
    (numbers / "005.jpg").write_text("1234")
    plan, summary = predict(listed(numbers), tmp_path / "out.csv", shard=(1, 3))
    assert (plan.changed, summary.decoded, summary.rows) == (1, 1, 8)
    assert rows_of(tmp_path / "out.csv")[1]["label"] == "class 2"


@pytest.mark.slow
def test_very_many_batches_are_all_predicted_with_their_own_numbers(tmp_path: Path) -> None:
    """More than the store gives at a time, and more than one stream takes."""

    class Positions(Slotted):
        def batches(self, index: ImageIndex, workers: int | None, pipeline: str) -> Iterator[Scored]:
            for start in range(0, len(index), self.batch_size):
                at = np.arange(start, min(start + self.batch_size, len(index)))
                scores = np.zeros((len(at), 7), np.float32)
                scores[np.arange(len(at)), [int(index.path(int(i))) % 7 for i in at]] = 1
                yield Scored(at, scores, [], np.zeros((len(at), 1, 1, 1), np.float32))

    n = 2 * (1 << 14) + 2 * SIZE + 1
    index = ImageIndex.from_paths(str(i) for i in range(n))
    with PredictionStore(tmp_path / "a.store", IDENTITY, ranks=1) as store:
        plan = store.plan(index, 2)
        done: list[int] = []
        summary = predict_into(store, Positions(batch_size=2), index, plan, progress=done.append)  # type: ignore[arg-type]
        assert (summary.rows, summary.ok, summary.decoded) == (n, n, n)
        assert (done[0], done[-1]) == (2, n)
        assert [row.label for row in store.results(CLASSES)] == [f"class {i % 7}" for i in range(n)]


def test_without_anything_to_do_no_scorer_is_needed(numbers: Path, tmp_path: Path) -> None:
    predict(listed(numbers), tmp_path / "out.csv")
    with PredictionStore(tmp_path / "out.csv.store", IDENTITY, ranks=5) as store:
        summary = predict_into(store, None, listed(numbers), store.plan(listed(numbers), SIZE))
    assert summary.to_json() == {
        "rows": 22,
        "ok": 16,
        "bad": 6,
        "decoded": 0,
        "reused": 22,
        "seconds": summary.to_json()["seconds"],
        "images_per_second": 0.0,
    }


def test_batches_are_as_large_as_40_mb_allow() -> None:
    found = [batch_size_for((side, side, 3)) for side in (32, 160, 224, 384, 448, 1024, 4000)]
    assert found == [128, 128, 64, 16, 16, 8, 8]


def test_an_output_that_cannot_be_written_leaves_the_earlier_one_and_the_store(numbers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    predict(listed(numbers), output)
    before = output.read_bytes()
    (numbers / "zzz.jpg").write_text("5")
    with PredictionStore(store_path(output), IDENTITY, ranks=5) as store:
        predict_into(store, Slotted(), listed(numbers), store.plan(listed(numbers), SIZE))  # type: ignore[arg-type]
        rows = write_output(store, output, CLASSES, 3)
        next(rows)
        rows.close()  # stopped while it was written
    assert output.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "out.csv.store", "photos"]
    assert predict(listed(numbers), output)[1].decoded == 0
    assert len(rows_of(output)) == 23


def test_a_file_that_changes_while_it_waits_is_predicted_as_it_is(numbers: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"

    class Meddler(Slotted):
        def batches(self, *arguments: Any) -> Iterator[Scored]:
            for batch in super().batches(*arguments):
                yield batch
                (numbers / "000.jpg").write_text("10")  # read already
                (numbers / "020.jpg").write_text("11")  # not yet

    predict(listed(numbers), output, scorer=Meddler())
    assert [rows_of(output)[i]["label"] for i in (0, 20)] == ["class 0", "class 4"]
    plan, _ = predict(listed(numbers), output)
    assert plan.changed == 2
    assert [rows_of(output)[i]["label"] for i in (0, 20)] == ["class 3", "class 4"]
