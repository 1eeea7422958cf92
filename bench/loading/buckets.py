"""How fast images are read from a bucket whose every answer takes 20 ms, beside the disk; and which client reads objects fastest.

    python bench/loading/buckets.py DIR [--size 224] [--delay 0.02] [--images 3000] [--rounds 3] [--workers 2] [--shards]
    python bench/loading/buckets.py DIR --clients [--seconds 3]

DIR holds one folder of JPEGs a class; as many as --images of them are served by tools/bucket_server.py, a process of its own that speaks S3
and waits --delay before each answer. Each reader runs in a process of its own: read, decode, resize to SIZE×SIZE, float32 in [0, 1],
batches of 32, shuffled. "first" is an epoch with nothing kept, "later" the next one with --cache. A B A B …, medians. The server takes a
part of the same cores: the last line gives the readers' processor time alone, which bounds the rate where the server runs elsewhere. With
--shards the images are packed as TFRecord of 64 MB first: on the disk and in the bucket.

--clients: objects a second with 1, 8, 64 and 256 requests in flight, and the client's processor time an object. What is not installed is
left out (pip install obstore s3fs).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
READERS = ("disk, first", "bucket, first", "disk, later", "bucket, later")
CLIENTS = ("obstore", "pyarrow", "s3fs")


class Server:
    """The server in a process of its own, within a with statement."""

    def __init__(self, folder: Path, delay: float) -> None:
        command = [sys.executable, str(ROOT / "tools" / "bucket_server.py"), str(folder), "--delay", str(delay)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.environment = {
            "AWS_ENDPOINT_URL": self._process.stdout.readline().strip(),
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
        }

    def used(self) -> tuple[int, float, int]:
        """Requests so far, seconds of processor time, and the most requests in flight."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        requests, seconds, most = self._process.stdout.readline().split()
        return int(requests), float(seconds), int(most)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--shards", action="store_true")
    parser.add_argument("--clients", action="store_true")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        classes = sorted(path for path in options.directory.iterdir() if path.is_dir())
        for folder in classes:
            (photos / folder.name).mkdir(parents=True)
            for file in islice(sorted(folder.iterdir()), options.images // len(classes)):
                (photos / folder.name / file.name).write_bytes(file.read_bytes())
        if options.shards:
            packed = Path(scratch) / "shards"
            command = [sys.executable, "-m", "imgstream", "pack", photos, "-o", packed, "--format", "tfrecord", "--shard-size", "64MB"]
            subprocess.run(command, check=True, capture_output=True)
            photos = packed
        with Server(photos, options.delay) as server:
            (compare_clients if options.clients else compare)(options, Path(scratch), photos, server)


def compare(options: argparse.Namespace, scratch: Path, photos: Path, server: Server) -> None:
    """Read the images in turns, print medians."""
    results: dict[str, list[list[float]]] = {name: [] for name in READERS}
    for number in range(options.rounds):
        for name in READERS:
            source = str(photos) if name.startswith("disk") else "s3://photos"
            kept = scratch / f"cache {name.split(',')[0]} {number}"
            environment = {**os.environ, **server.environment, "IMGSTREAM_CACHE": str(kept)}
            before = server.used()
            arguments = ["--one", name, source, "--size", str(options.size), "--workers", str(options.workers)]
            done = subprocess.run(
                [sys.executable, __file__, str(photos), *arguments], check=True, capture_output=True, text=True, env=environment
            )
            images, seconds, cpu = json.loads(done.stdout.splitlines()[-1])
            after = server.used()
            results[name].append([images / seconds, 1e6 * cpu / images, 1e6 * (after[1] - before[1]) / images])
    print(f"{options.size}², {options.workers} workers, {os.cpu_count()} cores, {1000 * options.delay:.0f} ms before each answer")
    print(f"{'':16}{'images/s':>10}{'of disk':>9}{'CPU µs an image':>17}{'server, in all':>15}")
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()}
    for name, (rate, cpu, served) in medians.items():
        of_disk = rate / medians[name.replace("bucket", "disk")][0]
        print(f"{name:16}{rate:10.0f}{of_disk:9.2f}{cpu:17.0f}{served:15.0f}")
    disk, bucket = medians["disk, first"], medians["bucket, first"]
    print(f"with the server elsewhere, first: {disk[1] / bucket[1]:.2f} of disk, by processor time; most in flight {server.used()[2]}")


def one(options: argparse.Namespace) -> tuple[int, float, float]:
    """Images, seconds and processor seconds of one pass."""
    import imgstream as ims

    name, source = options.one
    index = ims.scan(source)
    cache = Path(os.environ["IMGSTREAM_CACHE"]) / "pixels"
    spec = ims.SampleSpec(size=(options.size, options.size))
    if name.endswith("later"):
        cache.mkdir(parents=True, exist_ok=True)
        stream = ims.Stream(index, spec, batch_size=32, shuffle=True, workers=options.workers, cache=cache)
        for _ in stream.batches(0):
            pass
    else:
        stream = ims.Stream(index, spec, batch_size=32, shuffle=True, workers=options.workers)
        for _ in islice(stream.batches(0), 4):
            pass
    used, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    images = sum(len(labels) for _, labels in stream.batches(1))
    seconds, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return images, seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


# ---- clients


def compare_clients(options: argparse.Namespace, scratch: Path, photos: Path, server: Server) -> None:
    """Print objects a second, and processor time, of each client."""
    os.environ.update(server.environment)
    keys = [str(path.relative_to(photos)) for path in sorted(photos.rglob("*")) if path.is_file()]
    print(f"{'':10}" + "".join(f"{f'{at_once} in flight':>16}" for at_once in (1, 8, 64, 256)) + "   objects/s (CPU µs an object)")
    for client in CLIENTS:
        try:
            shown = [measured(client, keys, at_once, options.seconds) for at_once in (1, 8, 64, 256)]
        except ImportError:
            continue
        print(f"{client:10}" + "".join(f"{f'{rate:,.0f} ({cpu:,.0f})':>16}" for rate, cpu in shown))


def measured(client: str, keys: list[str], at_once: int, seconds: float) -> tuple[float, float]:
    """Objects a second, and processor time of each in µs."""
    if client == "s3fs":
        return asyncio.run(_by_s3fs(keys, at_once, seconds))
    read = _reader(client)
    read(keys[0])
    end, done = time.perf_counter() + seconds, [0] * at_once

    def work(number: int) -> None:
        at = number
        while time.perf_counter() < end:
            read(keys[at % len(keys)])
            at += at_once
            done[number] += 1

    used, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(work, range(at_once)))
    took, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return sum(done) / took, 1e6 * (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / sum(done)


def _reader(client: str) -> Any:
    if client == "obstore":
        import obstore
        from obstore.store import S3Store

        store = S3Store("photos", client_options={"allow_http": True})
        return lambda key: obstore.get(store, key).bytes()
    from pyarrow import fs

    files = fs.S3FileSystem(
        access_key="any", secret_key="any", endpoint_override=os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"), scheme="http"
    )

    def read(key: str) -> Any:
        with files.open_input_stream(f"photos/{key}") as stream:
            return stream.readall()

    return read


async def _by_s3fs(keys: list[str], at_once: int, seconds: float) -> tuple[float, float]:
    import s3fs

    files = s3fs.S3FileSystem(
        skip_instance_cache=True,
        key="any",
        secret="any",
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        asynchronous=True,
        config_kwargs={"max_pool_connections": 256},
    )
    session = await files.set_session()
    end, done = time.perf_counter() + seconds, [0] * at_once

    async def work(number: int) -> None:
        at = number
        while time.perf_counter() < end:
            await files._cat_file(f"photos/{keys[at % len(keys)]}")
            at += at_once
            done[number] += 1

    await files._cat_file(f"photos/{keys[0]}")
    used, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(work(number) for number in range(at_once)))
    took, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    await session.close()
    return sum(done) / took, 1e6 * (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime) / sum(done)


if __name__ == "__main__":
    main()
