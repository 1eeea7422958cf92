"""Whatever is raised in a thread or worker process, wherever, ends the pass with that error within seconds: nothing waits in vain."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from injected import KINDS, InjectingCache, owner, raising

import imgstream as ims
from imgstream.errors import CacheWarning
from imgstream.stream.workers import batch_loader
from imgstream.stream.workers.processes import AVAILABLE, ProcessWorkers

Folder = Callable[..., Path]
LIMIT = 30
"""Seconds, for a machine that is busy with other things; each takes one or two."""
needs_processes = pytest.mark.skipif(not AVAILABLE, reason="worker processes are started on Linux alone")


def ends(work: Callable[..., Any], *arguments: Any) -> Any:
    """What work(*arguments) returns or raises, on a thread of its own, which is not waited for any longer than LIMIT."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work(*arguments))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert outcome, f"it has not ended after {LIMIT} s"
    return outcome[0]


def images(stream: ims.Stream) -> list[np.ndarray]:
    return [batch[0].copy() for batch in stream.batches()]


def is_told(error: Any, place: str, kind: str) -> bool:
    """Whether it is what was injected, or says so."""
    return isinstance(error, BaseException) and f"injected into {place}" in str(error) and kind in f"{type(error).__name__}: {error}"


@pytest.fixture
def photos(folder: Folder) -> ims.ImageIndex:
    """Files that a cache keeps: they have not been written just now."""
    root = folder(12, bad=(5,))
    for path in root.rglob("*g"):
        os.utime(path, (1e9, 1e9))
    return ims.scan(root)


# ---- threads

IN_THREADS = [
    "imgstream.index.table.file_facts:FileFacts.note",
    "imgstream.index.image_index:ImageIndex.path_bytes",
    "imgstream.stream.workers.readahead:Readahead.note",
    "imgstream.stream.workers.readahead:Readahead.announce",
    "imgstream.stream.workers.sample_job:SampleMaker.__init__",
    "imgstream.stream.workers.sample_job:SampleMaker.fill",
    "imgstream.stream.workers.sample_job:SampleJob.reader",
    "imgstream.stream.workers.sample_job:SampleJob.begin_pass",
    "imgstream.decode.sample:SampleReader.__init__",
    "imgstream.decode.sample:SampleReader.read",
    "imgstream.decode.reference:Decoder.decode",
    "imgstream.files.reader:FileReader.read",
    "imgstream.spec:SampleSpec.to_float",
    "imgstream.augment.presets:Preset.apply",
    "imgstream.stream.workers.open_batch:OpenBatch.settle",
    "imgstream.stream.workers.buffer_pool:BufferPool.take",
    "imgstream.stream.workers.threads:ThreadQueue.claim",
    "imgstream.stalls:OpenFile.begin",
    "imgstream.stalls:OpenFile.end",
    "concurrent.futures:ThreadPoolExecutor.submit",
]
IN_THE_CACHE = [
    "imgstream.cache:PixelStore.find",
    "imgstream.cache:PixelStore.add",
    "imgstream.cache:PixelStore.refresh",
    "imgstream.cache.shards:ShardWriter.write",
    "imgstream.stream.workers.cached_samples:CachedReader.__init__",
    "imgstream.stream.workers.cached_samples:CachedReader.read",
]
SUFFERED = ("imgstream.cache.shards:ShardWriter.write",)
"""Where a disk that refuses costs nothing but what would have been kept."""


@pytest.mark.parametrize("place", [*IN_THREADS, *IN_THE_CACHE])
def test_in_a_thread(photos: ims.ImageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    spec, options = ims.SampleSpec(size=(8, 8)), {"augment": "light", "batch_size": 4}
    expected = [batch.tolist() for batch in images(ims.Stream(photos, spec, workers=1, cache=tmp_path / "other", **options))]
    if place not in IN_THE_CACHE:
        expected = [batch.tolist() for batch in images(ims.Stream(photos, spec, workers=1, **options))]
    for kind in KINDS:
        cache = tmp_path / kind if place in IN_THE_CACHE else None
        stream = ims.Stream(photos, spec, workers=2, cache=cache, **options)
        with monkeypatch.context() as patch:
            patch.setattr(*owner(place), raising(kind, place))
            error = ends(images, stream)
        if kind == "OSError" and place in SUFFERED:
            assert isinstance(error, CacheWarning)  # which these tests make an error
        else:
            assert is_told(error, place, kind)
        if place.endswith("path_bytes"):  # what the stream had from the index is the one that raises
            stream = stream.replace()
        assert [batch.tolist() for batch in ends(images, stream)] == expected  # the next pass knows nothing of it


@pytest.mark.parametrize(
    "place",
    [
        "imgstream.stream.workers.readahead:read_ahead",
        "imgstream.stream.workers.readahead:Readahead._fetch",
        "concurrent.futures:ThreadPoolExecutor",
    ],
)
def test_in_what_is_asked_for_ahead_it_does_not_matter(photos: ims.ImageIndex, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    stream = ims.Stream(photos, ims.SampleSpec(size=(8, 8)), batch_size=2, workers=2)
    expected = images(stream)
    monkeypatch.setattr("imgstream.stream.workers.readahead._PAYS", -1.0)  # as if all came from the disk
    monkeypatch.setattr(*owner(place), raising("RuntimeError", place))
    found = ends(images, stream)
    assert [batch.tolist() for batch in found] == [batch.tolist() for batch in expected]


def test_in_one_thread_of_several_the_batches_before_it_are_given_and_those_after_are_not_waited_for(
    photos: ims.ImageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = ims.Stream(photos.take(np.arange(600) % 4), ims.SampleSpec(size=(8, 8)), batch_size=4, workers=3)
    to_float, calls = ims.SampleSpec.to_float, iter(range(10**6))

    def once(*arguments: Any) -> Any:
        if next(calls) == 100:
            raise RuntimeError("injected once")
        return to_float(*arguments)

    monkeypatch.setattr(ims.SampleSpec, "to_float", once)
    given: list[np.ndarray] = []
    error = ends(lambda: given.extend(batch[0] for batch in stream.batches()))
    assert isinstance(error, RuntimeError)
    assert 0 < len(given) <= 25
    assert len(ends(images, stream)) == 150


# ---- worker processes


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stream of two workers starts one process of one thread."""
    monkeypatch.setattr(batch_loader, "WORTH_PROCESSES", 0)
    monkeypatch.setattr(batch_loader, "THREADS_A_PROCESS", 1)
    monkeypatch.setattr(
        batch_loader, "ProcessWorkers", lambda work, path_bytes, buffers, count, threads: ProcessWorkers(work, path_bytes, buffers, 1, 1)
    )


IN_WORKERS = [  # a process each
    ("", "RuntimeError"),
    ("os:chdir", "SystemExit"),
    ("threading:Thread.start", "RuntimeError"),
    ("imgstream.stream.workers.worker_process:SampleMaker.__init__", "ConnectionResetError"),
    ("imgstream.stream.workers.worker_process:SampleMaker.fill", "MemoryError"),
    ("imgstream.stream.workers.sample_job:SampleJob.begin_pass", "OSError"),
    ("imgstream.index.table.file_facts:FileFacts.note", "RuntimeError"),
    ("imgstream.cache:PixelStore.find", "KeyboardInterrupt"),
    ("mmap:mmap", "MemoryError"),
    ("pickle:loads", "RuntimeError"),
    ("pickle:dumps", "MemoryError"),
    ("socket:socket.sendall", "OSError"),
    ("socket:socket.sendall", "ConnectionResetError"),
]
CANNOT_BE_SAID = ("pickle:dumps", "socket:socket.sendall")
"""Nothing gets through then: the parent sees that the process has ended."""


@needs_processes
@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(("place", "kind"), IN_WORKERS)
def test_in_a_worker_process(photos: ims.ImageIndex, tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str, kind: str) -> None:
    cache = InjectingCache(tmp_path / "kept", place, kind)
    error = ends(images, ims.Stream(photos, ims.SampleSpec(size=(8, 8)), batch_size=4, workers=2, cache=cache))
    if place in CANNOT_BE_SAID:
        assert isinstance(error, ims.ImgstreamError)
        assert "worker process ended by itself" in str(error)
    else:
        assert is_told(error, place or "unpickling", kind)


WHERE_WORKERS_ARE_HEARD = [
    "imgstream.stream.workers.processes:SharedMemory.offset",
    "imgstream.stream.workers.processes:shared_open_files",
    "imgstream.stream.workers.readahead:Readahead.note",
    "imgstream.stream.workers.open_batch:OpenBatch.settle",
    "subprocess:Popen",
    "pickle:loads",
    "pickle:dumps",
]


@needs_processes
@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("place", WHERE_WORKERS_ARE_HEARD)
def test_where_worker_processes_are_sent_to_and_heard(photos: ims.ImageIndex, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    stream = ims.Stream(photos, ims.SampleSpec(size=(8, 8)), batch_size=4, workers=2)
    with monkeypatch.context() as patch:
        patch.setattr(*owner(place), raising("RuntimeError", place))
        assert is_told(ends(images, stream), place, "RuntimeError")
    if place.endswith("settle"):  # one for all: what comes next has workers of its own
        expected = [batch.tolist() for batch in images(stream.replace(workers=1))]
        assert [batch.tolist() for batch in ends(images, stream)] == expected


# ---- TensorFlow's pipeline

IN_TENSORFLOW = [
    "imgstream.augment.tensorflow_ops:PresetPlans.__new__",
    "imgstream.index.table.file_facts:FileFacts.note",
    "imgstream.index.image_index:ImageIndex.path_bytes",
    "imgstream.index.image_index:ImageIndex.labels_at",
    "imgstream.decode.sample:SampleReader.read",
    "imgstream.stream.workers.sample_job:SampleJob.reader",
    "imgstream.stream.workers.sample_job:SampleJob.begin_pass",
    "imgstream.stream.tf.row_plans:RowPlanner.__call__",
    "imgstream.stream.tf.row_plans:RowPlanner.__init__",
    "imgstream.stream.tf.row_plans:FileReader.read_jpeg",
    "imgstream.stream.stream:Stream.note_bad",
    "imgstream.stream.stream:Stream.ordered",
    "imgstream.stream.tf.dataset:TfPipeline._complete",
    "imgstream.stream.tf.dataset:bad_image",
    "imgstream.stalls:OpenFile.begin",
    "imgstream.stalls:StallWatch.watching",
]


@pytest.mark.quick(
    "imgstream.decode.sample:SampleReader.read-RuntimeError",
    "imgstream.decode.sample:SampleReader.read-KeyboardInterrupt",
    "imgstream.stream.tf.row_plans:RowPlanner.__call__-RuntimeError",
    "imgstream.stream.tf.row_plans:FileReader.read_jpeg-RuntimeError",
    "imgstream.stream.tf.dataset:TfPipeline._mend-RuntimeError",
    "imgstream.stream.stream:Stream.note_bad-RuntimeError",
    "imgstream.stalls:StallWatch.watching-RuntimeError",
)
@pytest.mark.parametrize(
    ("place", "kind"),
    [
        *((place, "RuntimeError") for place in IN_TENSORFLOW),
        *(("imgstream.decode.sample:SampleReader.read", kind) for kind in ("MemoryError", "SystemExit", "KeyboardInterrupt")),
    ],
)
def test_in_the_tf_pipeline(photos: ims.ImageIndex, monkeypatch: pytest.MonkeyPatch, place: str, kind: str) -> None:
    pytest.importorskip("tensorflow")
    import imgstream.stream.tf.dataset  # noqa: F401  # before anything in it is replaced

    stream = ims.Stream(photos, ims.SampleSpec(size=(8, 8)), augment="light", batch_size=4, workers=2, pipeline="tf")
    monkeypatch.setattr(*owner(place), raising(kind, place))
    assert is_told(ends(images, stream), place, kind)


def test_in_what_keras_takes_it_is_raised_as_often_as_it_is_asked_for(photos: ims.ImageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "imgstream.spec:SampleSpec.to_float"
    seq = ims.Stream(photos, ims.SampleSpec(size=(8, 8)), batch_size=4).to_keras()
    with monkeypatch.context() as patch:
        patch.setattr(*owner(place), raising("RuntimeError", place))
        for _ in range(2):
            assert is_told(ends(seq.__getitem__, 0), place, "RuntimeError")
    assert len(ends(seq.__getitem__, 0)[0]) == 4


# ---- other waits


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_in_which_the_streams_threads_are_not_has_its_own(photos: ims.ImageIndex, tmp_path: Path) -> None:
    code = """
        import os, sys, warnings
        import imgstream as ims
        warnings.simplefilter("ignore")
        stream = ims.Stream(ims.scan(sys.argv[1]), ims.SampleSpec(size=(8, 8)), batch_size=4, workers=2)
        count = sum(len(images) for images, _ in stream.batches())
        child = os.fork()
        if not child:
            os._exit(sum(len(images) for images, _ in stream.batches()))
        print(count, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), photos.root]
    assert subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True).stdout.split() == ["11", "11"]


def test_a_file_that_declares_more_than_a_fact_can_hold_is_read_as_if_nothing_could_be_noted(
    tmp_path: Path, photos: ims.ImageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgstream.files.reader import FileVersion
    from imgstream.formats.header import Header
    from imgstream.index.table.file_facts import FileFacts

    facts = photos.facts
    assert isinstance(facts, FileFacts)
    version = FileVersion(10, 10)
    for header in (Header("tiff", 2**63, 1, 1), Header("tiff", -1, 1, 1), Header("jpeg", 2**32, 2**70, 300), Header("raw", 1, 1, 1)):
        facts.note(0, version, header)
        assert not facts.renew(0, version, header)
        assert facts.at(np.array([0])).tolist() == [(0,) * 7]
    facts.note(0, version, Header("png", 3, 4, 1))
    assert facts.at(np.array([0])).tolist() == [(10, 10, 4, 3, 1, 2, 1)]
