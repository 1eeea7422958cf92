"""Streams whose samples worker processes make: the same batches as with threads, errors that arrive, and nothing that stays behind."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest

import imgstream as ims
from imgstream.augment import resolve
from imgstream.cache import PixelCache
from imgstream.errors import AugmentError, ImgstreamError, OutputError
from imgstream.stream.workers import batch_loader
from imgstream.stream.workers.processes import AVAILABLE, can_be_sent
from imgstream.stream.workers.sample_job import SampleJob

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="worker processes are started on Linux alone")

Folder = Callable[..., Path]
Batches = list[tuple[np.ndarray, np.ndarray]]
PATIENCE = 60
"""Seconds after which something that should happen at once is given up."""

FUNCTIONS = """
    import os, time
    import numpy as np

    def shift(image, rng):
        return np.roll(image, int(rng.integers(1, 10)), axis=1)

    def breaks(image, rng):
        raise KeyError("mask")

    def shrinks(image, rng):
        return image[1:]

    def leaves(image, rng):
        raise SystemExit("enough")

    def talks(image, rng):
        raise ValueError("x" * 300_000)

    def waits(image, rng):
        time.sleep(600)

    def dozes(image, rng):
        time.sleep(0.03)
        return tells(image, rng)

    def tells(image, rng):
        image[0, 0] = np.frombuffer(os.getpid().to_bytes(4, "little")[:3], np.uint8)
        return image
"""
HEAD = """
from imgstream.stream.workers import batch_loader
batch_loader.WORTH_PROCESSES, batch_loader.THREADS_A_PROCESS, batch_loader.THREADS_A_PROCESS_IN_PYTHON = 0, 1, 1
"""


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stream with two workers starts two processes; with four, two of two threads where nothing runs in Python."""
    monkeypatch.setattr(batch_loader, "WORTH_PROCESSES", 0)
    monkeypatch.setattr(batch_loader, "THREADS_A_PROCESS", 1)
    monkeypatch.setattr(batch_loader, "THREADS_A_PROCESS_IN_PYTHON", 1)


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    path = tmp_path / "functions.py"
    path.write_text(textwrap.dedent(FUNCTIONS))
    return path


def equal(one: Batches, other: Batches) -> bool:
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def copies(batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> Batches:
    return [(images.copy(), labels.copy()) for images, labels in batches]


def threads(stream: ims.Stream) -> ims.Stream:
    """The same by a thread of this process."""
    return stream.replace(workers=1)


def children(of: int | None = None) -> set[int]:
    """ProcessWorkers that a process, or this one, has started and that are still there: zombies too."""
    of, found = of or os.getpid(), set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == of:
            found.add(int(path.parent.name))
    return found


def running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def shared_memory() -> set[str]:
    """What this package or multiprocessing has named on this machine; other programs and other tests have files there too."""
    return {name for name in os.listdir("/dev/shm") if name.startswith(("imgstream", "psm_"))}


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return met


# ---- the same batches


COMPOSE = A.Compose([A.HorizontalFlip(p=0.5), A.GaussNoise(p=0.8), A.CoarseDropout(p=0.5)])


@pytest.mark.quick("strong", "function")
@pytest.mark.parametrize("augment", [None, "light", "strong", "compose", "function"])
def test_batches_and_skipped_files_are_those_of_threads_to_the_bit(
    folder: Folder, spec: ims.SampleSpec, functions: Path, augment: Any
) -> None:
    index = ims.scan(folder(40, bad=(3, 17, 18, 39)))
    augment = {"compose": COMPOSE, "function": f"{functions}:shift"}.get(augment, augment)
    stream = ims.Stream(index, spec, augment=augment, batch_size=7, shuffle=True, seed=4, workers=2)
    before = children()
    for epoch in (2, 0):
        assert equal(copies(stream.batches(epoch)), copies(threads(stream).batches(epoch)))
    assert len(children() - before) == 2
    assert len(stream.skipped) == 4
    alone = threads(stream)
    list(alone.batches(2))
    assert stream.skipped == alone.skipped
    assert equal(copies(stream.batches(1, start=4)), copies(alone.batches(1))[4:])


@pytest.mark.parametrize("size", [1, 100])
def test_a_batch_may_be_one_sample_or_more_than_there_are(
    folder: Folder, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(batch_loader, "THREADS_A_PROCESS", 2)
    stream = ims.Stream(ims.scan(folder(20, bad=(4,))), spec, augment="strong", batch_size=size, workers=4)
    assert equal(copies(stream.batches()), copies(threads(stream).batches()))


def test_two_passes_at_once_passes_left_early_and_batches_that_are_kept_do_not_mix(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(40, bad=(6,))), spec, augment="strong", batch_size=3, shuffle=True, workers=2)
    expected = [copies(threads(stream).batches(epoch)) for epoch in range(3)]
    kept: list[Batches] = [[], []]
    for one, two in zip(stream.batches(0), stream.batches(1), strict=True):
        kept[0].append(one)
        kept[1].append(two)
    for _ in range(4):
        left = stream.batches(2)
        kept.append([next(left)])
        left.close()
    kept.extend(list(stream.batches(2)) for _ in range(3))
    assert equal(kept[0], expected[0])
    assert equal(kept[1], expected[1])
    assert all(equal(batches, expected[2][: len(batches)]) for batches in kept[2:])
    addresses = {id(images.base) for images, _ in kept[0]}
    assert len(addresses) == 14


def test_many_passes_reuse_the_memory_of_batches_that_were_let_go(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(40)), spec, batch_size=2, workers=2)
    addresses = {images.__array_interface__["data"][0] for epoch in range(4) for images, _ in stream.batches(epoch)}
    assert len(addresses) < 14  # of 80 batches


def test_workers_are_other_processes_and_stay_from_pass_to_pass(folder: Folder, functions: Path) -> None:
    stream = ims.Stream(
        ims.scan(folder(30)), ims.SampleSpec(size=(4, 4), scale="raw"), augment=f"{functions}:tells", batch_size=3, workers=2
    )
    before = children()
    seen = set()
    for epoch in range(3):
        for images, _ in stream.batches(epoch):
            seen |= {int(r) + 256 * int(g) + 65536 * int(b) for r, g, b in images[:, 0, 0]}
    assert 1 <= len(seen) <= 2
    assert {number & 0xFFFFFF for number in children() - before} >= seen


def test_workers_fill_and_use_a_cache(folder: Folder, spec: ims.SampleSpec, tmp_path: Path) -> None:
    root = folder(40, bad=(7,))
    for path in root.rglob("*g"):
        os.utime(path, (1e9, 1e9))
    stream = ims.Stream(ims.scan(root), spec, augment="light", batch_size=5, workers=2, cache=tmp_path / "kept")
    expected = copies(threads(stream).replace(cache=tmp_path / "other").batches(1))
    assert equal(copies(stream.batches(1)), expected)
    (held,) = PixelCache(tmp_path / "kept").held()
    assert held.images == 39
    for path in root.rglob("*g"):
        size = path.stat().st_size
        path.write_bytes(bytes(size))
        os.utime(path, (1e9, 1e9))
    assert equal(copies(stream.batches(1)), expected)  # by any worker, whichever kept it


def test_a_cache_that_cannot_be_made_is_the_error_that_threads_give(folder: Folder, spec: ims.SampleSpec, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stream = ims.Stream(ims.scan(folder(8)), spec, workers=2, cache=tmp_path / "file")
    for one in (stream, threads(stream)):
        with pytest.raises(OutputError, match="cannot keep a cache"):
            list(one.batches())


def test_it_works_in_a_process_with_thousands_of_open_files(folder: Folder, spec: ims.SampleSpec) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1400:
        pytest.skip("this system allows fewer")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1400), hard))
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        stream = ims.Stream(ims.scan(folder(10)), spec, batch_size=4, workers=2)
        assert equal(copies(stream.batches()), copies(threads(stream).batches()))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- what goes wrong


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        ("breaks", AugmentError, r"breaks failed: KeyError: 'mask'"),
        ("shrinks", AugmentError, r"shrinks returned uint8 \(15, 12, 3\)"),
        ("talks", ImgstreamError, r"talks failed: ValueError: xxx"),
        ("leaves", SystemExit, r"enough"),
    ],
)
def test_an_error_in_the_users_function_arrives(
    folder: Folder, spec: ims.SampleSpec, functions: Path, function: str, kind: type[BaseException], message: str
) -> None:
    index = ims.scan(folder(6))
    stream = ims.Stream(index.take([2]), spec, augment=f"{functions}:{function}", workers=2)
    for one in (stream, threads(stream), stream):
        with pytest.raises(kind, match=message) as caught:
            list(one.batches())
        assert function in ("leaves", "talks") or index.path(2) in str(caught.value)


def test_on_bad_raise_raises_the_first_with_its_path_and_the_next_pass_goes_on(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(20, bad=(7, 8, 15)))
    stream = ims.Stream(index, spec, batch_size=5, on_bad="raise", workers=2)
    for _ in range(2):
        batches = stream.batches()
        assert len(next(batches)[0]) == 5
        with pytest.raises(ims.BadImage) as caught:
            next(batches)
        assert (caught.value.path, caught.value.reason) == (index.path(7), "wrong kind")


@pytest.mark.quick("2")
@pytest.mark.parametrize("number", [1, 2])
def test_workers_that_are_killed_end_the_pass_with_an_error_and_the_next_pass_has_others(
    folder: Folder, functions: Path, number: int
) -> None:
    index = ims.scan(folder(40)).take(np.arange(400) % 40)
    plain = ims.Stream(index, ims.SampleSpec(size=(4, 4), scale="raw"), batch_size=1, workers=1)
    expected = copies(itertools.islice(plain.batches(), 12))
    stream = plain.replace(augment=f"{functions}:dozes", workers=2)
    gc.collect()
    before, seen = children(), set()
    batches = stream.batches()
    while len(seen) < 2:  # until both are at work
        images, _ = next(batches)
        seen.add(tuple(images[0, 0, 0]))
    for worker in sorted(children() - before)[:number]:
        os.kill(worker, signal.SIGKILL)
    rest, said = [], ""
    try:
        rest = list(batches)
    except ImgstreamError as error:
        said = str(error)
    # One that is killed while it has nothing to do leaves all to the other.
    assert "worker process ended by itself" in said or (number == 1 and len(rest) > 300)
    for _ in range(2):
        found = copies(itertools.islice(stream.batches(), 12))
        assert equal([(images[:, 1:], labels) for images, labels in found], [(images[:, 1:], labels) for images, labels in expected])
    assert len(children() - before) == 2


def test_a_worker_whose_thread_cannot_begin_ends_the_pass_instead_of_letting_it_wait(
    folder: Folder, spec: ims.SampleSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code = f"""
        import os, threading
        from imgstream.cache import PixelCache

        class Refusing(PixelCache):
            taken = threading.Lock()

            def __reduce__(self):
                return Refusing, (self.folder,)

            def store(self, form):
                if os.getpid() != {os.getpid()} and self.taken.acquire(blocking=False):
                    raise RuntimeError("no store for the first thread")
                return super().store(form)
    """
    (tmp_path / "refusing_cache.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(batch_loader, "THREADS_A_PROCESS", 2)
    from refusing_cache import Refusing  # type: ignore[import-not-found]

    stream = ims.Stream(ims.scan(folder(40)), spec, workers=4, batch_size=1, cache=Refusing(tmp_path / "kept"))
    with pytest.raises(ImgstreamError, match="worker process ended by itself"):
        list(stream.batches())
    assert "no store for the first thread" in capfd.readouterr().err


# ---- nothing stays behind


def test_when_the_stream_is_gone_so_are_its_processes_and_its_memory(folder: Folder, spec: ims.SampleSpec) -> None:
    gc.collect()
    before, shared = children(), shared_memory()
    descriptors = len(os.listdir("/proc/self/fd"))
    stream = ims.Stream(ims.scan(folder(40)), spec, batch_size=4, workers=2)
    left = stream.batches()
    images, _ = next(left)
    as_it_was = images.copy()
    assert len(children() - before) == 2
    assert shared_memory() == shared
    left.close()
    del stream, left
    gc.collect()
    assert children() <= before
    assert np.array_equal(images, as_it_was)  # and what was given out stays
    del images
    gc.collect()
    assert until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    assert shared_memory() == shared


@contextlib.contextmanager
def script(tmp_path: Path, photos: Path, body: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program with a stream of two workers, killed in the end; `body` is run with it."""
    path = tmp_path / "program.py"
    head = "import sys, time, imgstream as ims\n" + HEAD
    made = "stream = ims.Stream(ims.scan(sys.argv[1]), ims.SampleSpec(size=(8, 8)), batch_size=2, workers=2, augment=AUGMENT)\n"
    path.write_text(head + made.replace("AUGMENT", repr(options.pop("augment", None))) + textwrap.dedent(body))
    command = [sys.executable, str(path), str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


ENDLESS = """
    for epoch in range(10**6):
        for batch in stream.batches(epoch):
            print("batch", flush=True)
"""


def test_workers_end_when_their_parent_is_killed(folder: Folder, tmp_path: Path) -> None:
    with script(tmp_path, folder(20), ENDLESS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "batch\n"
        workers = children(process.pid)
        process.kill()
        process.communicate()
    assert len(workers) == 2
    assert until(lambda: not any(map(running, workers)))


@pytest.mark.quick("shift")
@pytest.mark.parametrize("function", ["shift", "waits"])
def test_ctrl_c_ends_it_all_with_one_traceback(folder: Folder, tmp_path: Path, functions: Path, function: str) -> None:
    body = "print('begun', flush=True)\n" + textwrap.dedent(ENDLESS)
    with script(tmp_path, folder(20), body, augment=f"{functions}:{function}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert until(lambda: len(children(process.pid)) == 2)
        workers = children(process.pid)
        time.sleep(1.0 if function == "shift" else 0.3)  # in the middle of it, or of the workers' beginning
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert until(lambda: not any(map(running, workers)))


def test_a_program_that_ends_in_the_middle_of_a_pass_says_nothing_and_leaves_nothing(folder: Folder, tmp_path: Path) -> None:
    body = """
        batches = stream.batches()
        next(batches)
        import os
        from pathlib import Path
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid():
                print(path.parent.name)
    """
    with script(tmp_path, folder(20), body) as process:
        out, errors = process.communicate(timeout=PATIENCE)
    workers = [int(line) for line in out.split()]
    assert (process.returncode, errors, len(workers)) == (0, "", 2)
    assert not any(map(running, workers))


# ---- what other processes cannot do


def local(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image


def work(augment: Any) -> SampleJob:
    return SampleJob(spec=ims.SampleSpec(size=(8, 8)), augmentation=resolve(augment), seed=0, cache=None)


def test_what_can_be_sent_to_other_processes(functions: Path) -> None:
    for augment in (None, "strong", COMPOSE, f"{functions}:shift", np.copy):
        assert can_be_sent(work(augment)), augment
    held = {}
    exec("def function(image, rng): return image", {"__name__": "__main__"}, held)
    for augment in (lambda image, rng: image, held["function"]):
        assert not can_be_sent(work(augment)), augment


def test_a_function_of_a_module_that_others_cannot_import_is_not_sent(folder: Folder, spec: ims.SampleSpec) -> None:
    module = sys.modules.pop(local.__module__, None)
    sys.modules["only_here"] = type(sys)("only_here")
    try:
        local.__module__, sys.modules["only_here"].local = "only_here", local  # type: ignore[attr-defined]
        stream = ims.Stream(ims.scan(folder(6)), spec, augment=local, workers=2)
        assert equal(copies(stream.batches()), copies(stream.replace(augment=None).batches()))
    finally:
        del sys.modules["only_here"]
        if module is not None:
            sys.modules[module.__name__] = module


def test_functions_of_the_program_itself_are_left_to_threads(folder: Folder, tmp_path: Path) -> None:
    body = """
        import numpy as np
        from imgstream.stream.workers.threads import ThreadWorkers
        def mirrored(image, rng):
            return image[:, ::-1].copy()
        expected = np.concatenate([images[:, :, ::-1] for images, _ in stream.batches()])
        for function in (mirrored, lambda image, rng: image[:, ::-1].copy()):
            other = stream.replace(augment=function)
            assert np.array_equal(np.concatenate([images for images, _ in other.batches()]), expected)
            print(type(other._loader._pool).__name__, type(stream._loader._pool).__name__)
    """
    with script(tmp_path, folder(10), body) as process:
        out, errors = process.communicate(timeout=PATIENCE)
    assert (errors, out) == ("", "ThreadWorkers ProcessWorkers\n" * 2)


def test_a_small_pass_and_few_workers_start_no_process(folder: Folder, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    index = ims.scan(folder(10))
    before = children()
    list(ims.Stream(index, spec, workers=1).batches())
    monkeypatch.setattr(batch_loader, "WORTH_PROCESSES", 11)
    list(ims.Stream(index, spec, workers=4).batches())
    assert children() == before
