"""A small server that speaks as much S3 as imgstream needs, for tests and measurements: ListObjectsV2, GET with ranges, HEAD.

    python tools/bucket_server.py FOLDER --delay 0.02

serves FOLDER as s3://photos with 20 ms before each answer, and prints its address for AWS_ENDPOINT_URL. Plain addresses,
http://HOST:PORT/photos/KEY, work too. What goes wrong with real buckets can be injected (see BucketServer.fault).
"""

from __future__ import annotations

import argparse
import asyncio
import email.utils
import hashlib
import resource
import threading
import urllib.parse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple
from xml.sax.saxutils import escape

_STATUS = {200: "OK", 206: "Partial Content", 403: "Forbidden", 404: "Not Found", 416: "Range Not Satisfiable", 503: "Slow Down"}
_CODES = {403: "AccessDenied", 404: "NoSuchKey", 503: "SlowDown"}
CUT = -1
"""The fault of a connection that is cut in the middle of an answer."""


class Stored(NamedTuple):
    """An object."""

    data: bytes
    modified: float = 1_700_000_000.0
    """Seconds since 1970."""

    @property
    def etag(self) -> str:
        """As S3 has it, with its quotes."""
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


class BucketServer:
    """Serves buckets from a thread of its own, within a with statement."""

    def __init__(self, buckets: dict[str, dict[str, Stored]], delay: float = 0.0, key_id: str | None = None) -> None:
        """`buckets`: name → key → object; they may be changed at any time. `delay`: seconds before each answer. `key_id`: the access key
        that requests must be signed with; None for any, or none.
        """
        self.buckets, self.delay, self.key_id = buckets, delay, key_id
        self.requests: Counter[str] = Counter()
        """How often each was asked for: "GET key", "HEAD key", "LIST prefix"."""
        self.in_flight = self.most_in_flight = 0
        """Requests that are being answered, now and at most so far."""
        self.fault: Callable[[str], int] = lambda request: 0
        """For a request as `requests` has it: 0, the status to answer with, or CUT."""
        self.open: set[asyncio.Transport] = set()
        """Connections."""
        self._etags: dict[bytes, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="bucket-server", daemon=True)
        self._ready = threading.Event()
        self._port = 0

    @property
    def endpoint(self) -> str:
        """For AWS_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which s3:// means this server."""
        key_id = self.key_id or "any"
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def __enter__(self) -> BucketServer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024))
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        # What was accepted becomes a transport a turn later, which a closed server does not allow: its socket would stay open.
        self._loop.remove_reader(server.sockets[0].fileno())
        quiet = 0
        while quiet < 5:  # what is just being accepted opens some turns of the loop later
            quiet = 0 if self.open or asyncio.all_tasks(self._loop) else quiet + 1
            for transport in list(self.open):
                transport.abort()
            self._loop.run_until_complete(asyncio.sleep(0.001))
        server.close()
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

    def answer(self, method: str, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes, bool]:
        """Status, headers and body of the answer to a request, and whether it is cut in the middle."""
        path, _, query = target.partition("?")
        _, bucket_name, *rest = path.split("/", 2)
        key = urllib.parse.unquote(rest[0]) if rest else ""
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(query, keep_blank_values=True).items()}
        request = f"LIST {asked.get('prefix', '')}" if "list-type" in asked else f"{method} {key}"
        self.requests[request] += 1
        status = self.fault(request)
        if status not in (0, CUT):
            return status, {}, _problem(status), False
        return *self._answer(method, bucket_name, key, asked, headers), status == CUT

    def _answer(
        self, method: str, bucket_name: str, key: str, asked: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        if self.key_id is not None and f"Credential={self.key_id}/" not in headers.get("authorization", ""):
            return 403, {}, _problem(403)
        bucket = self.buckets.get(bucket_name)
        if bucket is None:
            return 404, {}, b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"
        if "list-type" in asked:
            return 200, {"content-type": "application/xml"}, self._list(bucket_name, bucket, asked)
        stored = bucket.get(key)
        if stored is None:
            return 404, {}, _problem(404)
        return self._object(stored, headers.get("range"))

    def _object(self, stored: Stored, wanted: str | None) -> tuple[int, dict[str, str], bytes]:
        etag = self._etags.get(stored.data)
        if etag is None:
            etag = self._etags[stored.data] = stored.etag
        described = {"etag": etag, "last-modified": email.utils.formatdate(stored.modified, usegmt=True), "content-type": "image/jpeg"}
        if wanted is None:
            return 200, described, stored.data
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(stored.data) - int(last))
        past = min(int(last) + 1, len(stored.data)) if first and last else len(stored.data)
        if start >= len(stored.data):
            return 416, {}, b""
        return 206, {**described, "content-range": f"bytes {start}-{past - 1}/{len(stored.data)}"}, stored.data[start:past]

    def _list(self, name: str, bucket: dict[str, Stored], asked: dict[str, str]) -> bytes:
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        after = asked.get("continuation-token") or asked.get("start-after", "")
        most = min(int(asked.get("max-keys", "1000")), 1000)
        contents: list[str] = []
        folders: list[str] = []
        last, is_cut = "", False
        for key in sorted(
            (key for key in bucket if key.startswith(prefix) and key > after), key=lambda key: key.encode("utf-8", "replace")
        ):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0 and folders and folders[-1] == key[: cut + 1]:
                continue
            if len(contents) + len(folders) == most:
                is_cut = True
                break
            last = key
            if cut >= 0:
                folders.append(key[: cut + 1])
                last += "\U0010ffff"
            else:
                contents.append(key)
        parts = [f"<Name>{name}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(contents)}</KeyCount><MaxKeys>{most}</MaxKeys>"]
        parts.append(f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>")
        if is_cut:
            parts.append(f"<NextContinuationToken>{escape(last)}</NextContinuationToken>")
        for key in contents:
            stored = bucket[key]
            at = email.utils.formatdate(stored.modified)
            when = email.utils.parsedate_to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            parts.append(
                f"<Contents><Key>{_escaped(key)}</Key><LastModified>{when}</LastModified><ETag>{escape(stored.etag)}</ETag>"
                f"<Size>{len(stored.data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        parts += [f"<CommonPrefixes><Prefix>{_escaped(folder)}</Prefix></CommonPrefixes>" for folder in folders]
        body = f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{"".join(parts)}</ListBucketResult>'
        return body.encode("utf-8", "surrogateescape")


def _escaped(key: str) -> str:
    return escape(key, {"\n": "&#10;", "\r": "&#13;"})


def _problem(status: int) -> bytes:
    return f"<Error><Code>{_CODES.get(status, 'InternalError')}</Code><Message>injected</Message></Error>".encode()


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection; each request is answered after the server's delay."""

    def __init__(self, server: BucketServer) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.open.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._server.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete; none has a body."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head, self._received = self._received[:end].decode("latin-1"), self._received[end + 4 :]
            first, *lines = head.split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            server = self._server
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            asyncio.get_running_loop().call_later(server.delay, self._answer, method, target, headers)

    def _answer(self, method: str, target: str, headers: dict[str, str]) -> None:
        self._server.in_flight -= 1
        transport = self._transport
        if transport.is_closing():
            return
        status, described, body, is_cut = self._server.answer(method, target, headers)
        head = "".join(f"{name}: {value}\r\n" for name, value in {**described, "content-length": str(len(body))}.items())
        answer = f"HTTP/1.1 {status} {_STATUS.get(status, 'Error')}\r\n{head}\r\n".encode("latin-1", "replace")
        body = b"" if method == "HEAD" else body
        if is_cut:
            transport.write(answer + body[: len(body) // 2])
            transport.close()
            return
        transport.write(answer + body)


def folder_as_bucket(folder: Path, prefix: str = "") -> dict[str, Stored]:
    """The files under a folder as objects, `prefix` before each key."""
    return {prefix + file.relative_to(folder).as_posix(): Stored(file.read_bytes()) for file in sorted(folder.rglob("*")) if file.is_file()}


def main() -> None:
    """Serve a folder until stdin is closed; then print the CPU time that this took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    arguments = parser.parse_args()
    with BucketServer({"photos": folder_as_bucket(arguments.folder)}, arguments.delay) as server:
        print(server.endpoint, flush=True)
        input_end = threading.Event()
        try:
            while input():
                used = resource.getrusage(resource.RUSAGE_SELF)
                print(f"{sum(server.requests.values())} {used.ru_utime + used.ru_stime:.3f} {server.most_in_flight}", flush=True)
        except EOFError:
            input_end.set()


if __name__ == "__main__":
    main()
