"""pack: writes an index as shards. A hidden folder beside the target grows, shard by whole shard, and is renamed when all are there."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

import numpy as np

from imgstream.errors import BadImage, NoImagesError, OptionError, OutputError
from imgstream.files.atomic import atomic_file, sync_folder, translated, write_json, write_text
from imgstream.files.csv_output import csv_writer, path_b64, utf8
from imgstream.index import ImageIndex
from imgstream.packing.images import ImageSource, PackedImage
from imgstream.packing.parquet_shard import ParquetShard
from imgstream.packing.tfrecord_shard import TFRecordShard
from imgstream.packing.webdataset_shard import WebDatasetShard
from imgstream.stalls import OpenFile, StallWatch
from imgstream.stream.plan import cpu_count

try:
    import fcntl
except ImportError:  # Windows: two of the same command at once would write the same bytes
    fcntl = None  # type: ignore[assignment]

_LAYOUT = 1  # of what is written; another number makes all shards anew
_AHEAD = 4  # images that are read ahead, for each thread
SMALLEST_SHARD = 1 << 20
DATASET, SKIPPED = "dataset.json", "skipped.csv"


class Shard(Protocol):
    """Writes the images of one shard."""

    @property
    def size(self) -> int:
        """Bytes so far."""

    def add(self, image: PackedImage) -> None:
        """Write an image."""

    def close(self) -> None:
        """Write what is left."""


class _Format(NamedTuple):
    shard: Callable[[BinaryIO, Sequence[str]], Shard]
    extension: str


_FORMATS = {
    "tfrecord": _Format(TFRecordShard, "tfrecord"),
    "webdataset": _Format(WebDatasetShard, "tar"),
    "parquet": _Format(ParquetShard, "parquet"),
}
FORMATS = tuple(_FORMATS)


class PackReport(NamedTuple):
    """What was written."""

    rows: int
    skipped: int
    """Bad files, which are in skipped.csv and in no shard."""
    shards: int
    bytes: int
    """Of all shards."""
    was_done: bool
    """Whether all was there before."""


def pack(
    index: ImageIndex,
    out: str | os.PathLike[str],
    format: str = "tfrecord",  # noqa: A002  # as on the command line
    *,
    shard_size: int = 256_000_000,
    resize: int | None = None,
    quality: int = 90,
    split: bool = False,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> PackReport:
    """Write the images of `index` as shards into the folder `out`, in their order. The same call goes on where an earlier one was stopped.

    Every image is decoded to see whether it is whole. Its bytes are copied as they are unless it is resized. The shards depend on
    the images and the arguments alone, to the byte. `out` appears when all is there; until then shards grow in a hidden folder beside it.

    Args:
        index: What to pack.
        out: A folder that is not there, or is empty.
        format: tfrecord, webdataset or parquet.
        shard_size: Bytes after which a new shard is begun.
        resize: Pixels of the shorter side of larger images, which are then written as JPEGs, upright; None to copy.
        quality: Of these JPEGs, 1 to 100.
        split: Write shards for training and validation, as index.split() has them. A split that the source gives is kept in any case.
        workers: Threads; None for one for each CPU core.
        progress: Called with the number of rows done so far.

    Raises:
        OptionError: An argument is impossible.
        NoImagesError: No image is good.
        OutputError: `out` is in the way, or cannot be written.
    """
    if format not in FORMATS:
        raise OptionError(f"format is one of {', '.join(FORMATS)}; got {format!r}", "format")
    if shard_size < SMALLEST_SHARD:
        raise OptionError(f"shard_size is 1 MiB or more; got {shard_size:,} bytes", "shard_size")
    if resize is not None and not 1 <= resize <= 8192:
        raise OptionError(f"resize is 1 to 8192 pixels; got {resize}", "resize")
    if not 1 <= quality <= 100:
        raise OptionError(f"quality is 1 to 100; got {quality}", "quality")
    parts = _parts(index, split)
    settings = {"format": format, "shard_size": shard_size, "resize": resize, "quality": quality if resize else None}
    key = _key(settings, parts, index)
    target = Path(os.path.abspath(out))
    if (done := _finished(target, key)) is not None:
        return done
    staging = target.with_name(f".imgstream-pack-{target.name}")
    with translated(out):
        staging.mkdir(exist_ok=True)
        with _locked(staging, target):
            if (done := _finished(staging, key, named=target)) is None:
                job = _Packing(staging, index, parts, settings, key, workers or cpu_count(), progress or (lambda rows: None))
                done = job.run()
            shutil.rmtree(staging / _STATE, ignore_errors=True)
            (staging / _LOCK).unlink(missing_ok=True)
            os.replace(staging, target)
            sync_folder(target.parent)
    return done._replace(was_done=False)


_STATE, _LOCK = ".state", ".lock"


def _parts(index: ImageIndex, split: bool) -> dict[str, ImageIndex]:
    given = index.explicit_split or {}
    parts = {part: index.take(rows) for part, rows in given.items()}
    if split and "val" not in given:
        parts["train"], parts["val"] = index.split()
    if given:
        rest = np.setdiff1d(np.arange(len(index)), np.concatenate(list(given.values())))
        parts |= {"images": index.take(rest)} if len(rest) else {}
    return parts or {"images": index}


def _key(settings: dict[str, Any], parts: dict[str, ImageIndex], index: ImageIndex) -> str:
    fingerprints = {name: part.fingerprint for name, part in parts.items()}
    described = [_LAYOUT, settings, fingerprints, os.path.abspath(index.root) if index.root else ""]
    return hashlib.blake2b(json.dumps(described).encode(), digest_size=16).hexdigest()


def _finished(folder: Path, key: str, named: Path | None = None) -> PackReport | None:
    """What a folder holds, if it is finished and of this key; None if there is no folder, or it is to be filled. Raises OutputError for one
    that is in the way.
    """
    try:
        found = json.loads((folder / DATASET).read_text())
        if found.get("key") == key:
            return PackReport(found["rows"], found["skipped"], len(found["shards"]), sum(shard["bytes"] for shard in found["shards"]), True)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        pass
    if named is None and os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(f"{str(folder)!r} is there, and was not packed from these images in this way: choose another --out, or remove it")
    if named is None and not folder.parent.is_dir():
        raise OutputError(f"cannot write {str(folder)!r}: the folder above it does not exist. Create it first, or choose another")
    return None


@contextlib.contextmanager
def _locked(staging: Path, target: Path) -> Iterator[None]:
    descriptor = os.open(staging / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OutputError(f"another imgstream pack is writing {str(target)!r}: wait for it, or stop it") from None
        yield
    finally:
        os.close(descriptor)


class _Packing:
    """One run of pack, into the hidden folder."""

    def __init__(
        self,
        folder: Path,
        index: ImageIndex,
        parts: dict[str, ImageIndex],
        settings: dict[str, Any],
        key: str,
        threads: int,
        progress: Callable[[int], None],
    ) -> None:
        self._folder, self._index, self._parts, self._settings, self._key = folder, index, parts, settings, key
        self._threads, self._progress = threads, progress
        self._format = _FORMATS[settings["format"]]
        self._local = threading.local()
        self._stalls = StallWatch()

    def run(self) -> PackReport:
        """Write what is missing, and the list of all."""
        shards = self._earlier()
        done = sum(shard["past"] - shard["first"] for shard in shards)
        for part, images in self._parts.items():
            first = max((shard["past"] for shard in shards if shard["part"] == part), default=0)
            with concurrent.futures.ThreadPoolExecutor(self._threads, "imgstream-pack") as pool:
                rows = self._read(pool, images, first)
                try:
                    while first < len(images):
                        number = sum(shard["part"] == part for shard in shards)
                        shard = self._write(part, number, first, len(images), rows, done)
                        done += shard["past"] - first
                        first = shard["past"]
                        shards.append(shard)
                finally:
                    pool.shutdown(wait=True, cancel_futures=True)
        return self._finish(shards)

    def _earlier(self) -> list[dict[str, Any]]:
        """The shards that an earlier run has finished; none, and an empty folder, where it packed something else."""
        state = self._folder / _STATE
        try:
            same = (state / "key").read_text() == self._key
            shards = [json.loads(path.read_text()) for path in sorted(state.glob("*.json"))] if same else []
        except (OSError, ValueError):
            shards = []
        finished = {_LOCK, *(shard["name"] for shard in shards)}
        for path in self._folder.iterdir():  # unfinished files of a killed run, and all of another
            if path.name == _STATE and shards:
                continue
            if path.name not in finished:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        state.mkdir(exist_ok=True)
        write_text(state / "key", self._key)
        return shards

    def _read(self, pool: concurrent.futures.ThreadPoolExecutor, images: ImageIndex, first: int) -> Iterator[PackedImage | BadImage]:
        """The images from position `first` on, in order, some read ahead by threads."""
        waiting: collections.deque[concurrent.futures.Future[PackedImage | BadImage]] = collections.deque()
        positions = iter(range(first, len(images)))
        while True:
            for position in islice(positions, self._threads * _AHEAD - len(waiting)):
                waiting.append(pool.submit(self._one, images, position))
            if not waiting:
                return
            yield waiting.popleft().result()

    def _one(self, images: ImageIndex, position: int) -> PackedImage | BadImage:
        source = getattr(self._local, "source", None)
        if source is None:
            source = self._local.source = ImageSource(self._settings["resize"], self._settings["quality"] or 90)
        path = images.path_bytes(position)
        with self._stalls.watching(OpenFile()) as open_file:
            open_file.begin(path)
            try:
                data, kind, height, width = source.read(path)
            except BadImage as error:
                error.__traceback__ = None
                return error
        label = int(images.labels_at(np.array([position]))[0])
        return PackedImage(images.row(position), images.relative_bytes(position), data, kind, height, width, label)

    def _write(self, part: str, number: int, first: int, past: int, rows: Iterator[PackedImage | BadImage], done: int) -> dict[str, Any]:
        """Write one shard of images from position `first` of a part on; return what is to be known of it."""
        name = f"{part}-{number:05}.{self._format.extension}"
        images = self._parts[part]
        bad: list[list[str | None]] = []
        position, count = first, 0
        with atomic_file(self._folder / name) as file:
            shard = self._format.shard(cast(BinaryIO, file), images.label_names)
            with contextlib.closing(shard):
                while position < past and (shard.size < self._settings["shard_size"] or not count):
                    image = next(rows)
                    if isinstance(image, BadImage):
                        relative = images.relative_bytes(position)
                        bad.append([utf8(os.fsdecode(relative)), image.reason, utf8(image.detail), path_b64(relative)])
                    else:
                        shard.add(image)
                        count += 1
                    position += 1
                    self._progress(done + position - first)
        size = (self._folder / name).stat().st_size
        about = {"name": name, "part": part, "rows": count, "bytes": size, "first": first, "past": position, "bad": bad}
        write_json(self._folder / _STATE / f"{name}.json", about)
        return about

    def _finish(self, shards: list[dict[str, Any]]) -> PackReport:
        """Write the lists of shards and of bad files."""
        for shard in shards:
            if not shard["rows"]:  # all of its images were bad
                (self._folder / shard["name"]).unlink(missing_ok=True)
        kept = [{name: shard[name] for name in ("name", "part", "rows", "bytes")} for shard in shards if shard["rows"]]
        rows, bad = sum(shard["rows"] for shard in kept), [row for shard in shards for row in shard["bad"]]
        if not rows:
            raise NoImagesError(f"No images: all {len(bad):,} files are bad; the first is {bad[0][0]}: {bad[0][1]}: {bad[0][2]}")
        with atomic_file(self._folder / SKIPPED, "w") as file:
            writer = csv_writer(file)
            writer.writerow(("path", "reason", "detail", "path_b64"))
            writer.writerows(bad)
        described = {"key": self._key, **self._settings, "class_names": self._index.label_names}
        write_json(self._folder / DATASET, {**described, "rows": rows, "skipped": len(bad), "shards": kept})
        return PackReport(rows, len(bad), len(kept), sum(shard["bytes"] for shard in kept), False)
