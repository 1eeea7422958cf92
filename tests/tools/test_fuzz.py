import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fuzz
import imgstream as ims
from fuzzing.cases import BLOCK, BY_KIND, Case, Cases, setting_of
from fuzzing.children import Limits
from fuzzing.damage.any_kind import ANY
from fuzzing.hunt import Failure, Record
from fuzzing.judge import judge
from fuzzing.messages import Setting
from fuzzing.minimise import minimised
from fuzzing.seeds import KINDS, drawn, found
from imgstream.stream import Batch
from imgstream.stream.tf.dataset import TfPipeline


def told(failures: list[Failure]) -> list[str]:
    return [f"case {[case.number for case in one.cases]}: {one.finding.kind}: {one.finding.text}" for one in failures]


@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_files_neither_end_nor_stall_nor_swell_nor_split_the_pipelines(tmp_path: Path, count: int) -> None:
    record = Record(tmp_path, minimising=0)
    assert fuzz.hunt(Cases(drawn(), seed=2026), range(count), record)
    assert record.cases == count
    assert told(record.failures) == []


# ---- cases


def test_a_case_is_a_pure_function_of_seed_and_number() -> None:
    first = Cases(drawn(), 3)
    some = [first[number] for number in (7, 100_000, 8)]
    assert [Cases(drawn(), 3)[number] for number in (8, 7, 100_000)] == [some[2], some[0], some[1]]
    assert Cases(drawn(), 4)[7] != some[0]
    assert setting_of(3, 5) == setting_of(3, 5)


def test_cases_are_of_every_kind_and_nearly_all_damaged() -> None:
    assert {seed.kind for seed in drawn()} == set(KINDS)
    whole = {seed.data for seed in drawn()}
    cases = [Cases(drawn(), 0)[number] for number in range(1000)]
    assert {case.history.split(" ")[0] for case in cases} == set(KINDS)
    assert len({case.data for case in cases} - whole) > 850


def test_files_of_a_folder_are_damaged_too(tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "deep" / "x.dat").write_bytes(drawn()[0].data)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (seed,) = found([tmp_path / "photos"])
    assert (seed.name, seed.kind, seed.read()) == ("photos/deep/x.dat", "jpeg", drawn()[0].data)
    assert any("photos/deep/x.dat" in Cases([*drawn(), seed], 0)[number].history for number in range(20))


def test_damage_takes_whatever_damage_left() -> None:
    for number in range(3000):
        rng = random.Random(number)
        seed = rng.choice(drawn())
        data = seed.data[: rng.choice((0, 5, 30, 200, 10_000))]
        for damage in (rng.choice(ANY), rng.choice(BY_KIND[seed.kind]), rng.choice(BY_KIND[rng.choice(KINDS)])):
            again = random.Random(number)
            changed = damage(data, random.Random(number))
            assert changed == damage(data, again)
            data = changed


# ---- what is wrong with a pass


SETTING = Setting((24, 24), "crop", 3, None, 4, 0)


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder of nine files in three classes, of which b/4.png is no image, and their names."""
    seeds = [seed for seed in drawn() if seed.kind in ("jpeg", "png")][:9]
    names = []
    for i, seed in enumerate(seeds):
        names.append(f"{'abc'[i // 3]}/{i}.png")
        (tmp_path / "photos" / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / names[-1]).write_bytes(seed.data if i != 4 else b"<html></html>")
    return tmp_path / "photos", names


def test_nothing_is_wrong_with_the_pipelines_as_they_are(photos: tuple[Path, list[str]]) -> None:
    reached: list[str] = []
    verdict = judge(*photos, SETTING, reached.append)
    assert verdict.findings == []
    assert reached == ["python", "python 0", "python 1", "python 2", "tf", "tf 0", "tf 1", "tf 2"]
    assert verdict.tf.seconds > 0


def with_change(batch: Batch, **changes: Any) -> Batch:
    return Batch(**{name: changes.get(name, getattr(batch, name)) for name in ("number", "images", "labels", "positions", "bad")})


def without(batch: Batch, position: int) -> Batch:
    kept = batch.positions != position
    return with_change(batch, images=batch.images[kept], labels=batch.labels[kept], positions=batch.positions[kept])


def lit(batch: Batch, position: int, value: float) -> Batch:
    images = batch.images.copy()
    images[batch.positions == position, 0, 0, 0] = value
    return with_change(batch, images=images)


def doubled(batch: Batch) -> Batch:
    parts = {name: np.concatenate([getattr(batch, name)[:1], getattr(batch, name)]) for name in ("images", "labels", "positions")}
    return with_change(batch, **parts)


BROKEN: dict[str, tuple[Callable[[Batch], Batch], list[tuple[str, str]]]] = {
    "a pixel is another": (lambda b: lit(b, 2, (b.images[b.positions == 2, 0, 0, 0].sum() + 0.5) % 1), [("a/2.png", "pixels")]),
    "a value is none": (lambda b: lit(b, 7, np.nan), [("c/7.png", "values"), ("c/7.png", "pixels")]),
    "a row is lost": (lambda b: without(b, 5), [("b/5.png", "rows")]),
    "a reason is another": (
        lambda b: with_change(b, bad=[(at, ims.BadImage("corrupt", error.detail)) for at, error in b.bad]),
        [("b/4.png", "reason")],
    ),
    "a detail is another": (
        lambda b: with_change(b, bad=[(at, ims.BadImage(error.reason, "at 0x7f00")) for at, error in b.bad]),
        [("b/4.png", "detail")],
    ),
    "a label is another": (lambda b: with_change(b, labels=np.where(b.positions == 8, 0, b.labels)), [("c/8.png", "labels")]),
    "a good file is skipped": (
        lambda b: with_change(without(b, 3), bad=b.bad + [(3, ims.BadImage("truncated", "so it says"))] * (3 in b.positions)),
        [("b/3.png", "skip")],
    ),
    "rows come in another order": (
        lambda b: with_change(b, **{name: getattr(b, name)[::-1] for name in ("images", "labels", "positions")}),
        [("a/0.png", "order")],
    ),
    "a row comes twice": (doubled, [("a/0.png", "rows"), ("b/5.png", "rows"), ("c/8.png", "rows")]),
}


@pytest.mark.parametrize("change", BROKEN)
def test_what_one_pipeline_does_otherwise_is_found(photos: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    wrong, expected = BROKEN[change]
    right = TfPipeline.traced_batches

    def broken(self: TfPipeline, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        for batch in right(self, epoch, start):
            yield wrong(batch)

    monkeypatch.setattr(TfPipeline, "traced_batches", broken)
    folder, names = photos
    assert [(one.name, one.kind) for one in judge(folder, names, SETTING).findings] == expected


def test_an_error_that_ends_a_pass_is_found(photos: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: TfPipeline, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        raise KeyError("no such thing")
        yield

    monkeypatch.setattr(TfPipeline, "traced_batches", broken)
    (finding,) = judge(*photos, SETTING).findings
    assert (finding.name, finding.kind, finding.text) == ("", "error", "tf: KeyError: 'no such thing'")


# ---- children that fail

STUB = """
import os, time
from pathlib import Path
from fuzzing.messages import Cost, Finding, Verdict
from fuzzing.serve import serve

Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))

mark = Path(__file__).with_suffix(".mark")

def judged(folder, names, setting, tell):
    findings, seconds, megabytes = [], 0.01, 1.0
    if sum(b"PAIR" in (folder / name).read_bytes() for name in names) > 1:
        os.abort()
    for name in names:
        tell("python 0")
        data = (folder / name).read_bytes()
        if b"HANG" in data:
            time.sleep(100)
        while b"SPIN" in data:
            pass
        if b"ABORT" in data:
            os.abort()
        if b"EATS" in data:
            kept = bytearray(b"x") * (400 << 20)
            time.sleep(100)
        if b"CRAWL" in data:
            seconds = 9.0
        if b"ONCE" in data and not mark.exists():
            mark.touch()
            megabytes = 5000.0 if b"SWELL" in data else os.abort()
        elif b"SWELL" in data and b"ONCE" not in data:
            megabytes = 5000.0
        if b"RAISE" in data:
            findings.append(Finding("", "error", "python KeyError", "python: KeyError: 'x'"))
        if b"EVIL" in data:
            findings.append(Finding(name, "pixels", "", "7.0 levels apart, 1 allowed"))
    return Verdict(findings, Cost(seconds, megabytes), Cost(0.01, 1.0))

serve(judged)
"""

QUICK = Limits(seconds=0.05, megabytes=200.0, silent=1.5, idle=0.5)


@pytest.fixture
def stub(tmp_path: Path) -> list[str]:
    """The command of a child that fails as the files ask for."""
    (tmp_path / "stub.py").write_text(STUB)
    return [sys.executable, os.fspath(tmp_path / "stub.py")]


class Planted(dict[int, Case]):
    """Cases that hold what a stub is to do."""

    seed = 0

    def __init__(self, contents: dict[int, bytes]) -> None:
        super().__init__((i, Case(i, f"a/{i:09}.jpg", contents.get(i, b"nothing"), "planted")) for i in range(BLOCK))


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"HANG", "hang", "of which it worked 0.0 (at python 0)"),
        pytest.param(b"SPIN", "time", "silent for", marks=pytest.mark.slow),
        (b"EATS", "memory", "MB and rising, 200 allowed"),
        (b"ABORT", "crash", "SIGABRT (at python 0)"),
        (b"SWELL", "memory", "python: 5,000 MB, 200 allowed"),
        (b"CRAWL", "time", "python: 9.0 s of a core, 0 allowed"),
        (b"RAISE", "error", "python: KeyError: 'x'"),
        (b"EVIL", "pixels", "7.0 levels apart"),
    ],
)
def test_the_one_file_that_does_it_is_found(stub: list[str], tmp_path: Path, content: bytes, kind: str, said: str) -> None:
    record = Record(tmp_path / "out", minimising=0)
    planted = Planted({5: b"a beginning " + content + b" and an end"})
    assert fuzz.hunt(planted, range(8), record, children=1, command=stub, limits=QUICK)
    (failure,) = record.failures
    assert ([case.number for case in failure.cases], failure.finding.kind) == ([5], kind)
    assert said in failure.finding.text
    assert record.cases == 8
    assert (tmp_path / "out" / failure.file).read_bytes() == planted[5].data
    assert (tmp_path / "out" / "failures.tsv").read_text("utf-8").splitlines()[1].startswith(f"5\t{kind}\t")


@pytest.mark.parametrize("content", [b"CRAWL", b"EVIL"])
def test_what_is_found_is_made_as_small_as_it_can_be(stub: list[str], tmp_path: Path, content: bytes) -> None:
    record = Record(tmp_path / "out", minimising=30)
    fuzz.hunt(Planted({2: bytes(range(200)) + content + bytes(range(100))}), range(4), record, children=1, command=stub, limits=QUICK)
    (failure,) = record.failures
    assert (tmp_path / "out" / failure.smallest).read_bytes() == content


def test_what_a_fresh_process_does_not_repeat_counts_where_it_ended_one(stub: list[str], tmp_path: Path) -> None:
    kinds = []
    for content in (b"SWELL ONCE", b"ends ONCE"):
        (tmp_path / "stub.mark").unlink(missing_ok=True)
        record = Record(tmp_path / "out", minimising=0)
        fuzz.hunt(Planted({0: content}), range(1), record, children=1, command=stub, limits=QUICK)
        kinds.append([(one.finding.kind, one.finding.text.split(" (")[-1]) for one in record.failures])
    assert kinds == [[], [("crash", "but not in a fresh process)")]]


def test_files_that_fail_only_together_are_found_together(stub: list[str], tmp_path: Path) -> None:
    record = Record(tmp_path / "out", minimising=5)
    fuzz.hunt(Planted({1: b"PAIR", 30: b"PAIR"}), range(40), record, children=1, command=stub, limits=QUICK)
    (failure,) = record.failures
    assert ([case.number for case in failure.cases], failure.finding.kind) == ([1, 30], "crash")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"failures.tsv", "000000001.jpg", "000000030.jpg"}


def test_all_failures_of_a_block_are_found_whatever_they_do(stub: list[str], tmp_path: Path) -> None:
    record = Record(tmp_path / "out", minimising=0)
    planted = Planted({3: b"EVIL", 4: b"ABORT", 9: b"EVIL", 21: b"CRAWL EVIL", 22: b"RAISE"})
    fuzz.hunt(planted, range(24), record, children=1, command=stub, limits=QUICK)
    kinds = sorted((one.cases[0].number, one.finding.kind) for one in record.failures)
    assert kinds == [(3, "pixels"), (4, "crash"), (9, "pixels"), (21, "pixels"), (21, "time"), (22, "error")]


def test_ctrl_c_ends_the_children_and_keeps_what_was_found(stub: list[str], tmp_path: Path) -> None:
    record = Record(tmp_path / "out", minimising=0)
    planted = Planted({0: b"EVIL"})
    planted[BLOCK] = Case(BLOCK, f"a/{BLOCK:09}.jpg", b"HANG", "planted")

    def interrupt(record: Record) -> None:
        if record.failures:
            raise KeyboardInterrupt

    patient = Limits(silent=100, idle=100)
    assert not fuzz.hunt(planted, range(BLOCK + 1), record, interrupt, children=1, command=stub, limits=patient)
    assert [one.finding.kind for one in record.failures] == ["pixels"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "stub.pid").read_text()), 0)


def test_minimising_leaves_what_makes_it_fail() -> None:
    data = bytes(range(1, 200)) + b"BAD" + bytes(range(1, 100))

    def first_failing(candidates: Any) -> int | None:
        return next((i for i, some in enumerate(candidates) if b"BAD" in some and some[:1] == b"\1"), None)

    assert minimised(data, first_failing, 30) == b"\1BAD"


# ---- the command line


def test_the_command_says_what_failed_and_makes_a_case_again(stub: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    (tmp_path / "stub.py").write_text(STUB.replace("EVIL", "GIF8"))
    assert fuzz.main(["40", "--seed", "5", "--out", str(out)], stub) == 1
    said = capsys.readouterr().out
    gifs = [number for number in range(40) if b"GIF8" in Cases(drawn(), 5)[number].data]
    assert said.startswith("40 cases in ")
    assert f"pixels{len(gifs):>10}" in said
    assert f"case {gifs[0]}: 7.0 levels apart" in said
    lines = (out / "failures.tsv").read_text("utf-8").splitlines()
    assert sorted(int(line.split("\t")[0]) for line in lines[1:]) == gifs

    assert fuzz.main(["--case", str(gifs[0]), "--seed", "5", "--out", str(tmp_path / "again")], stub) == 1
    (kept,) = out.glob(f"{gifs[0]:09}.???")
    assert (tmp_path / "again" / kept.name).read_bytes() == kept.read_bytes()


def test_the_command_succeeds_where_nothing_fails(stub: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["300", "--out", str(tmp_path / "out")], stub) == 0
    assert not (tmp_path / "out").exists()
    assert "  crash          0" in capsys.readouterr().out
